//! Reading YAML mappings so that an unknown key is a finding among others, not the end of reading.

/// Defines a mapping whose keys are all optional and whose unknown keys are collected.
macro_rules! mapping {
    ($(#[$meta:meta])* $name:ident { $($field:ident: $type:ty = $key:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub(super) struct $name {
            $(pub(super) $field: Option<$type>,)*
            pub(super) unknown: Vec<String>,
        }

        impl $name {
            /// The keys it may have.
            pub(super) const KEYS: &'static [&'static str] = &[$($key),*];
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Visitor;

                impl<'de> serde::de::Visitor<'de> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a mapping")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> Result<$name, A::Error> {
                        let mut read = $name::default();
                        while let Some(key) = map.next_key::<String>()? {
                            match key.as_str() {
                                $($key => read.$field = map.next_value()?,)*
                                _ => {
                                    map.next_value::<serde::de::IgnoredAny>()?;
                                    read.unknown.push(key);
                                }
                            }
                        }
                        Ok(read)
                    }
                }

                from.deserialize_map(Visitor)
            }
        }
    };
}

pub(super) use mapping;

/// Says that a key is not one of those there are.
pub(super) fn unknown_key(key: &str, known: &[&str]) -> String {
    format!("unknown key `{key}`; known are {}", known.join(", "))
}

/// Returns the reason of a YAML error in one line, and its line number.
pub(super) fn reason(error: &serde_saphyr::Error) -> (u64, String) {
    let line = error.location().map_or(0, |location| location.line());
    let text = error.without_snippet().to_string();
    (line, text.lines().next().unwrap_or("not YAML").to_owned())
}
