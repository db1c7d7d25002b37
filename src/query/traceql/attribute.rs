//! What can be asked of a span: its attributes, and what TraceQL calls intrinsics.

use std::fmt;

use super::value::quoted;

/// Something of a span.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Attribute {
    /// A property that every span or trace has.
    Intrinsic(Intrinsic),
    /// An attribute by its name.
    Named {
        /// Where it is looked for.
        scope: Scope,
        /// True when the parent's is meant.
        of_parent: bool,
        /// Its name.
        name: String,
    },
}

/// Where attributes stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "their names say it")]
pub enum Scope {
    /// On the span, or else on its resource.
    Any,
    Span,
    Resource,
    Event,
    Link,
    Instrumentation,
}

impl Scope {
    /// The scopes that have a name.
    pub(super) const NAMED: [(&'static str, Scope); 5] = [
        ("span", Scope::Span),
        ("resource", Scope::Resource),
        ("event", Scope::Event),
        ("link", Scope::Link),
        ("instrumentation", Scope::Instrumentation),
    ];

    /// Returns the name, empty for any.
    pub fn name(self) -> &'static str {
        Self::NAMED.iter().find(|(_, scope)| *scope == self).map_or("", |(name, _)| name)
    }
}

macro_rules! intrinsics {
    ($($name:ident $first:literal $($other:literal)*;)*) => {
        /// A property that every span or trace has.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "their names say it")]
        pub enum Intrinsic { $($name,)* }

        /// Every way that one is written; the first is how it is written again.
        pub(super) const INTRINSICS: &[(&str, Intrinsic)] =
            &[$(($first, Intrinsic::$name), $(($other, Intrinsic::$name),)*)*];

        impl Intrinsic {
            fn name(self) -> &'static str {
                match self { $(Intrinsic::$name => $first,)* }
            }
        }
    };
}

intrinsics! {
    Duration "duration" "span:duration";
    Name "name" "span:name";
    Status "status" "span:status";
    StatusMessage "statusMessage" "span:statusMessage";
    Kind "kind" "span:kind";
    ChildCount "span:childCount" "childCount";
    SpanId "span:id";
    ParentId "span:parentID";
    TraceId "trace:id";
    TraceDuration "traceDuration" "trace:duration";
    RootName "rootName" "trace:rootName";
    RootService "rootServiceName" "trace:rootService" "rootService";
    NestedSetParent "nestedSetParent";
    NestedSetLeft "nestedSetLeft";
    NestedSetRight "nestedSetRight";
    EventName "event:name";
    EventTime "event:timeSinceStart";
    LinkTraceId "link:traceID";
    LinkSpanId "link:spanID";
    ScopeName "instrumentation:name";
    ScopeVersion "instrumentation:version";
}

impl Attribute {
    /// Returns an attribute of a scope.
    pub fn named(scope: Scope, name: impl Into<String>) -> Self {
        Attribute::Named { scope, of_parent: false, name: name.into() }
    }

    /// Returns the name without its scope, as answers show it.
    pub fn short(&self) -> String {
        match self {
            Attribute::Intrinsic(intrinsic) => intrinsic.name().to_owned(),
            Attribute::Named { name, .. } => name.clone(),
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scope, of_parent, name) = match self {
            Attribute::Intrinsic(intrinsic) => return f.write_str(intrinsic.name()),
            Attribute::Named { scope, of_parent, name } => (scope, of_parent, name),
        };
        let parent = if *of_parent { "parent" } else { "" };
        match (scope.name(), parent) {
            ("", parent) => f.write_str(parent)?,
            (scope, "") => f.write_str(scope)?,
            (scope, parent) => write!(f, "{parent}.{scope}")?,
        }
        f.write_str(".")?;
        if is_plain(name, *of_parent) { f.write_str(name) } else { f.write_str(&quoted(name)) }
    }
}

/// Returns true for a name that is read as itself without quotes.
fn is_plain(name: &str, of_parent: bool) -> bool {
    // What begins like something else would be read as that.
    let is_other = name.is_empty()
        || name.starts_with(|c: char| c.is_ascii_digit())
        || (of_parent && Scope::NAMED.iter().any(|(scope, _)| name.starts_with(scope)));
    let is_letter = |c: char| is_name_letter(c) && !c.is_control() && c != '"' && c != '\\';
    !is_other && name.chars().all(is_letter)
}

/// Returns true for what an attribute's name goes on with.
pub(super) fn is_name_letter(letter: char) -> bool {
    !letter.is_whitespace()
        && !matches!(
            letter,
            '{' | '}' | '(' | ')' | '=' | '~' | '!' | '<' | '>' | '&' | '|' | '^' | ','
        )
}
