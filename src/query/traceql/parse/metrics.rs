//! What is counted over time, what is done with its series, and the hints at the end.

use super::super::ast::{Aggregate, Function, Metrics, SecondStage, Spanset};
use super::super::error::TraceqlError;
use super::super::lex::Token;
use super::super::value::Value;
use super::{Item, Parser};

/// The most values of each attribute that `compare` shows, unless it says.
const COMPARE_TOP: usize = 10;

/// The functions that count over time.
const METRICS: [&str; 9] = [
    "rate",
    "count_over_time",
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "avg_over_time",
    "quantile_over_time",
    "histogram_over_time",
    "compare",
];

impl Parser<'_> {
    pub(super) fn metrics(&mut self, word: &str) -> Result<Option<Metrics>, TraceqlError> {
        let is_metrics = METRICS.contains(&word);
        if !is_metrics {
            return Ok(None);
        }
        self.next();
        self.expect("(")?;
        let function = self.function(word)?;
        self.expect(")")?;
        let mut by = Vec::new();
        if *self.peek() == Token::Word("by".to_owned()) {
            self.next();
            by = self.attributes()?;
        }
        let seconds = self.second_stages()?;
        Ok(Some(Metrics { function, by, seconds }))
    }

    fn function(&mut self, word: &str) -> Result<Function, TraceqlError> {
        match word {
            "rate" => Ok(Function::Rate),
            "count_over_time" => Ok(Function::Count),
            "histogram_over_time" => Ok(Function::Histogram(self.attribute()?)),
            "quantile_over_time" => {
                let attribute = self.attribute()?;
                let mut quantiles = Vec::new();
                while self.accept(",") {
                    quantiles.push(self.number()?);
                }
                Ok(Function::Quantiles(attribute, quantiles))
            }
            "compare" => self.compare(),
            _ => {
                let name = word.trim_end_matches("_over_time");
                let found = Aggregate::ALL.iter().find(|(known, _)| *known == name);
                let aggregate = found.expect("METRICS names only aggregates so").1;
                Ok(Function::Fold(aggregate, self.attribute()?))
            }
        }
    }

    fn compare(&mut self) -> Result<Function, TraceqlError> {
        let Item::Spanset(Spanset::Filter(filter)) = self.primary()? else {
            return Err(self.unexpected("a spanset filter, `{ … }`, before this"));
        };
        let mut numbers = Vec::new();
        while self.accept(",") {
            let is_negative = self.accept("-");
            match self.next() {
                Token::Value(Value::Int(number @ 0..)) if !is_negative => numbers.push(number),
                _ => return Err(self.unexpected("a whole number before this")),
            }
        }
        let top = match numbers.first() {
            Some(0) => {
                let message = "compare() top number of values must be integer greater than 0";
                return Err(TraceqlError::Invalid(message.to_owned()));
            }
            Some(&top) => usize::try_from(top).unwrap_or(usize::MAX),
            None => COMPARE_TOP,
        };
        let range_ns = match numbers[..] {
            [] | [_] => None,
            [_, start, end] if start < end => Some((start, end)),
            _ => {
                let message = "compare() timestamps must be positive integer unix nanoseconds, start before end";
                return Err(TraceqlError::Invalid(message.to_owned()));
            }
        };
        Ok(Function::Compare { filter, top, range_ns })
    }

    fn number(&mut self) -> Result<f64, TraceqlError> {
        let is_negative = self.accept("-");
        let value = match self.peek() {
            Token::Value(value) => value.number(),
            _ => None,
        };
        let Some(number) = value else { return Err(self.unexpected("a number")) };
        self.next();
        Ok(if is_negative { -number } else { number })
    }

    /// Reads what points are compared with: those of durations are seconds.
    fn threshold(&mut self) -> Result<f64, TraceqlError> {
        let number = self.number()?;
        let is_duration = matches!(self.tokens[self.at - 1].0, Token::Value(Value::Duration(_)));
        Ok(if is_duration { number / 1e9 } else { number })
    }

    pub(super) fn second_stages(&mut self) -> Result<Vec<SecondStage>, TraceqlError> {
        let mut stages = Vec::new();
        loop {
            if let Some(op) = self.comparison() {
                stages.push(SecondStage::Filter(op, self.threshold()?));
            } else if self.accept("|") {
                let word = match self.next() {
                    Token::Word(word) if word == "topk" || word == "bottomk" => word,
                    _ => return Err(self.unexpected("topk or bottomk before this")),
                };
                self.expect("(")?;
                let n = match self.next() {
                    Token::Value(Value::Int(n)) if n > 0 => {
                        usize::try_from(n).unwrap_or(usize::MAX)
                    }
                    _ => return Err(self.unexpected("a whole number above 0 before this")),
                };
                self.expect(")")?;
                stages.push(if word == "topk" {
                    SecondStage::Top(n)
                } else {
                    SecondStage::Bottom(n)
                });
            } else {
                return Ok(stages);
            }
        }
    }

    pub(super) fn hints(&mut self) -> Result<Vec<(String, Value<'static>)>, TraceqlError> {
        let mut hints = Vec::new();
        if *self.peek() != Token::Word("with".to_owned()) {
            return Ok(hints);
        }
        self.next();
        self.expect("(")?;
        loop {
            let Token::Word(name) = self.next() else {
                return Err(self.unexpected("the name of a hint before this"));
            };
            self.expect("=")?;
            match self.next() {
                Token::Value(value) => hints.push((name, value)),
                _ => return Err(self.unexpected("a value before this")),
            }
            if !self.accept(",") {
                break;
            }
        }
        self.expect(")")?;
        Ok(hints)
    }
}
