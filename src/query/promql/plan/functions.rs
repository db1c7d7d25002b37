//! Which functions exist, by what they are applied to.

/// A function of one value (and numbers that may differ by step).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) enum ElementFn {
    Negate,
    Abs,
    Ceil,
    Floor,
    Round,
    Exp,
    Ln,
    Log2,
    Log10,
    Sqrt,
    Sgn,
    Clamp,
    ClampMin,
    ClampMax,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
    Deg,
    Rad,
    Minute,
    Hour,
    DayOfWeek,
    DayOfMonth,
    DayOfYear,
    DaysInMonth,
    Month,
    Year,
    /// Of a native histogram.
    HistogramCount,
    HistogramSum,
    HistogramAvg,
    HistogramStddev,
    HistogramStdvar,
    /// `timestamp` of anything but a selector: the step's own time.
    StepTime,
}

impl ElementFn {
    pub(super) fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "abs" => ElementFn::Abs,
            "ceil" => ElementFn::Ceil,
            "floor" => ElementFn::Floor,
            "round" => ElementFn::Round,
            "exp" => ElementFn::Exp,
            "ln" => ElementFn::Ln,
            "log2" => ElementFn::Log2,
            "log10" => ElementFn::Log10,
            "sqrt" => ElementFn::Sqrt,
            "sgn" => ElementFn::Sgn,
            "clamp" => ElementFn::Clamp,
            "clamp_min" => ElementFn::ClampMin,
            "clamp_max" => ElementFn::ClampMax,
            "timestamp" => ElementFn::StepTime,
            "histogram_count" => ElementFn::HistogramCount,
            "histogram_sum" => ElementFn::HistogramSum,
            "histogram_avg" => ElementFn::HistogramAvg,
            "histogram_stddev" => ElementFn::HistogramStddev,
            "histogram_stdvar" => ElementFn::HistogramStdvar,
            _ => return Self::trigonometry(name).or_else(|| Self::calendar(name)),
        })
    }

    /// Returns true for the functions that floats have no value of.
    pub(in super::super) fn is_of_histograms(self) -> bool {
        matches!(
            self,
            ElementFn::HistogramCount
                | ElementFn::HistogramSum
                | ElementFn::HistogramAvg
                | ElementFn::HistogramStddev
                | ElementFn::HistogramStdvar
        )
    }

    fn trigonometry(name: &str) -> Option<Self> {
        Some(match name {
            "sin" => ElementFn::Sin,
            "cos" => ElementFn::Cos,
            "tan" => ElementFn::Tan,
            "asin" => ElementFn::Asin,
            "acos" => ElementFn::Acos,
            "atan" => ElementFn::Atan,
            "sinh" => ElementFn::Sinh,
            "cosh" => ElementFn::Cosh,
            "tanh" => ElementFn::Tanh,
            "asinh" => ElementFn::Asinh,
            "acosh" => ElementFn::Acosh,
            "atanh" => ElementFn::Atanh,
            "deg" => ElementFn::Deg,
            "rad" => ElementFn::Rad,
            _ => return None,
        })
    }

    fn calendar(name: &str) -> Option<Self> {
        Some(match name {
            "minute" => ElementFn::Minute,
            "hour" => ElementFn::Hour,
            "day_of_week" => ElementFn::DayOfWeek,
            "day_of_month" => ElementFn::DayOfMonth,
            "day_of_year" => ElementFn::DayOfYear,
            "days_in_month" => ElementFn::DaysInMonth,
            "month" => ElementFn::Month,
            "year" => ElementFn::Year,
            _ => return None,
        })
    }

    /// Returns true for the functions that without an argument speak of the step's time.
    pub(super) fn defaults_to_time(self) -> bool {
        matches!(
            self,
            ElementFn::Minute
                | ElementFn::Hour
                | ElementFn::DayOfWeek
                | ElementFn::DayOfMonth
                | ElementFn::DayOfYear
                | ElementFn::DaysInMonth
                | ElementFn::Month
                | ElementFn::Year
        )
    }
}

/// A function over a window of one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) enum RangeFn {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Deriv,
    PredictLinear,
    Changes,
    Resets,
    AvgOverTime,
    MinOverTime,
    MaxOverTime,
    SumOverTime,
    CountOverTime,
    LastOverTime,
    FirstOverTime,
    PresentOverTime,
    StddevOverTime,
    StdvarOverTime,
    QuantileOverTime,
    MadOverTime,
    TsOfFirstOverTime,
    TsOfLastOverTime,
    TsOfMinOverTime,
    TsOfMaxOverTime,
    DoubleExponentialSmoothing,
}

impl RangeFn {
    /// Returns the name in PromQL.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            RangeFn::Rate => "rate",
            RangeFn::Increase => "increase",
            RangeFn::Delta => "delta",
            RangeFn::Irate => "irate",
            RangeFn::Idelta => "idelta",
            RangeFn::Deriv => "deriv",
            RangeFn::PredictLinear => "predict_linear",
            RangeFn::Changes => "changes",
            RangeFn::Resets => "resets",
            RangeFn::DoubleExponentialSmoothing => "double_exponential_smoothing",
            RangeFn::AvgOverTime => "avg_over_time",
            RangeFn::MinOverTime => "min_over_time",
            RangeFn::MaxOverTime => "max_over_time",
            RangeFn::SumOverTime => "sum_over_time",
            RangeFn::CountOverTime => "count_over_time",
            RangeFn::LastOverTime => "last_over_time",
            RangeFn::FirstOverTime => "first_over_time",
            RangeFn::PresentOverTime => "present_over_time",
            RangeFn::StddevOverTime => "stddev_over_time",
            RangeFn::StdvarOverTime => "stdvar_over_time",
            RangeFn::QuantileOverTime => "quantile_over_time",
            RangeFn::MadOverTime => "mad_over_time",
            RangeFn::TsOfFirstOverTime => "ts_of_first_over_time",
            RangeFn::TsOfLastOverTime => "ts_of_last_over_time",
            RangeFn::TsOfMinOverTime => "ts_of_min_over_time",
            RangeFn::TsOfMaxOverTime => "ts_of_max_over_time",
        }
    }

    pub(super) fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "rate" => RangeFn::Rate,
            "increase" => RangeFn::Increase,
            "delta" => RangeFn::Delta,
            "irate" => RangeFn::Irate,
            "idelta" => RangeFn::Idelta,
            "deriv" => RangeFn::Deriv,
            "predict_linear" => RangeFn::PredictLinear,
            "changes" => RangeFn::Changes,
            "resets" => RangeFn::Resets,
            "double_exponential_smoothing" => RangeFn::DoubleExponentialSmoothing,
            _ => return Self::over_time(name),
        })
    }

    fn over_time(name: &str) -> Option<Self> {
        Some(match name.strip_suffix("_over_time")? {
            "avg" => RangeFn::AvgOverTime,
            "min" => RangeFn::MinOverTime,
            "max" => RangeFn::MaxOverTime,
            "sum" => RangeFn::SumOverTime,
            "count" => RangeFn::CountOverTime,
            "last" => RangeFn::LastOverTime,
            "first" => RangeFn::FirstOverTime,
            "present" => RangeFn::PresentOverTime,
            "stddev" => RangeFn::StddevOverTime,
            "stdvar" => RangeFn::StdvarOverTime,
            "quantile" => RangeFn::QuantileOverTime,
            "mad" => RangeFn::MadOverTime,
            "ts_of_first" => RangeFn::TsOfFirstOverTime,
            "ts_of_last" => RangeFn::TsOfLastOverTime,
            "ts_of_min" => RangeFn::TsOfMinOverTime,
            "ts_of_max" => RangeFn::TsOfMaxOverTime,
            _ => return None,
        })
    }

    /// Returns true when the result is still the metric, so that its name stays.
    pub(in super::super) fn keeps_name(self) -> bool {
        matches!(self, RangeFn::LastOverTime | RangeFn::FirstOverTime)
    }

    /// Returns true when the result depends on the step's time and not only on the window.
    pub(in super::super) fn depends_on_step(self) -> bool {
        matches!(
            self,
            RangeFn::PredictLinear
                | RangeFn::QuantileOverTime
                | RangeFn::DoubleExponentialSmoothing
        )
    }
}
