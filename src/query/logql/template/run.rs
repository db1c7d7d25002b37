//! Running a template for one line.

use super::Template;
use super::functions::call;
use super::parse::{Arg, Node, Pipe};
use super::value::Value;
use crate::query::logql::fields::Fields;

/// What a template sees of a line.
#[derive(Debug)]
pub(in super::super) struct Scope<'a> {
    /// The labels.
    pub(in super::super) fields: &'a Fields<'a>,
    /// `__line__`
    pub(in super::super) line: &'a str,
    /// `__timestamp__`, ns since 1970 UTC.
    pub(in super::super) ts_ns: i64,
    /// `now`, ns since 1970 UTC.
    pub(in super::super) now_ns: i64,
}

/// The most that a template may write for one line.
pub(super) const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// The most nodes and operands that are looked at for one line.
const STEPS_MAX: usize = 100_000;

/// Runs a template.
pub(super) fn render(template: &Template, scope: &Scope<'_>) -> Result<String, String> {
    let mut run = Run { template, scope, out: String::new(), variables: Vec::new(), n_steps: 0 };
    run.nodes(&template.nodes, None)?;
    Ok(run.out)
}

pub(super) struct Run<'r> {
    pub(super) template: &'r Template,
    pub(super) scope: &'r Scope<'r>,
    out: String,
    variables: Vec<(String, Value)>,
    n_steps: usize,
}

/// How a run of nodes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

impl Run<'_> {
    fn step(&mut self) -> Result<(), String> {
        self.n_steps += 1;
        if self.n_steps > STEPS_MAX {
            return Err(format!("the template takes more than {STEPS_MAX} steps for a line"));
        }
        if self.out.len() > OUTPUT_BYTES_MAX {
            return Err(format!("the template writes more than {OUTPUT_BYTES_MAX} bytes"));
        }
        Ok(())
    }

    /// Runs nodes; the dot is the labels unless something else is given.
    fn nodes(&mut self, nodes: &[Node], dot: Option<&Value>) -> Result<Flow, String> {
        for node in nodes {
            self.step()?;
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Break => return Ok(Flow::Break),
                Node::Continue => return Ok(Flow::Continue),
                Node::Action(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    if pipe.variables.is_empty() {
                        value.push(&mut self.out);
                    }
                }
                Node::If(condition, then, otherwise) => {
                    let n_variables = self.variables.len();
                    let is_true = self.pipe(condition, dot)?.is_true();
                    let flow = self.nodes(if is_true { then } else { otherwise }, dot)?;
                    self.variables.truncate(n_variables);
                    if flow != Flow::On {
                        return Ok(flow);
                    }
                }
                Node::With(condition, then, otherwise) => {
                    let n_variables = self.variables.len();
                    let value = self.pipe(condition, dot)?;
                    let flow = match value.is_true() {
                        true => self.nodes(then, Some(&value))?,
                        false => self.nodes(otherwise, dot)?,
                    };
                    self.variables.truncate(n_variables);
                    if flow != Flow::On {
                        return Ok(flow);
                    }
                }
                Node::Range(over, each, otherwise) => self.range(over, each, otherwise, dot)?,
            }
        }
        Ok(Flow::On)
    }

    fn range(
        &mut self,
        over: &Pipe,
        each: &[Node],
        otherwise: &[Node],
        dot: Option<&Value>,
    ) -> Result<(), String> {
        let n_variables = self.variables.len();
        let bare = Pipe { variables: Vec::new(), ..over.clone() };
        let elements: Vec<(Value, Value)> = match self.pipe(&bare, dot)? {
            Value::List(list) => {
                list.into_iter().zip(0..).map(|(value, idx)| (Value::Int(idx), value)).collect()
            }
            Value::Map(map) => map.into_iter().map(|(key, v)| (Value::Text(key), v)).collect(),
            Value::Int(n) => (0..n.min(1 << 20)).map(|n| (Value::Int(n), Value::Int(n))).collect(),
            Value::Nil => Vec::new(),
            other => return Err(format!("range can't iterate over {}", other.to_text())),
        };
        if elements.is_empty() {
            self.nodes(otherwise, dot)?;
        }
        for (key, value) in elements {
            self.variables.truncate(n_variables);
            match over.variables.as_slice() {
                [name] => self.variables.push((name.clone(), value.clone())),
                [key_name, name] => {
                    self.variables.push((key_name.clone(), key));
                    self.variables.push((name.clone(), value.clone()));
                }
                _ => {}
            }
            if self.nodes(each, Some(&value))? == Flow::Break {
                break;
            }
        }
        self.variables.truncate(n_variables);
        Ok(())
    }

    /// Returns a pipe's value and sets its variable.
    fn pipe(&mut self, pipe: &Pipe, dot: Option<&Value>) -> Result<Value, String> {
        let mut value: Option<Value> = None;
        for command in &pipe.commands {
            self.step()?;
            value = Some(match &command[0] {
                Arg::Function(name) => self.function(name, &command[1..], value, dot)?,
                other => self.arg(other, dot)?,
            });
        }
        let value = value.unwrap_or(Value::Nil);
        if let [name] = pipe.variables.as_slice() {
            let known = self.variables.iter_mut().rev().find(|(known, _)| known == name);
            match (pipe.is_declaration, known) {
                (false, Some((_, old))) => *old = value.clone(),
                (false, None) => return Err(format!("undefined variable: {name}")),
                (true, _) => self.variables.push((name.clone(), value.clone())),
            }
        }
        Ok(value)
    }

    fn function(
        &mut self,
        name: &str,
        args: &[Arg],
        piped: Option<Value>,
        dot: Option<&Value>,
    ) -> Result<Value, String> {
        // These two look no further once they know.
        if let wants @ ("and" | "or") = name {
            let mut last = Value::Nil;
            for arg in args {
                last = self.arg(arg, dot)?;
                if last.is_true() == (wants == "or") {
                    return Ok(last);
                }
            }
            return Ok(piped.unwrap_or(last));
        }
        let mut values = Vec::with_capacity(args.len() + 1);
        for arg in args {
            values.push(self.arg(arg, dot)?);
        }
        values.extend(piped);
        call(name, &values, self).map_err(|error| format!("error calling {name}: {error}"))
    }

    fn arg(&mut self, arg: &Arg, dot: Option<&Value>) -> Result<Value, String> {
        self.step()?;
        Ok(match arg {
            Arg::Field(names) => match (dot, names.split_first()) {
                (None, None) => self.all_labels(),
                (None, Some((name, behind))) => members(self.label(name), behind)?,
                (Some(dot), _) => members(dot.clone(), names)?,
            },
            Arg::Variable(name, names) if name == "$" => match names.split_first() {
                None => self.all_labels(),
                Some((name, behind)) => members(self.label(name), behind)?,
            },
            Arg::Variable(name, names) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                let (_, value) = known.ok_or_else(|| format!("undefined variable: {name}"))?;
                members(value.clone(), names)?
            }
            Arg::Text(text) => Value::Text(text.clone()),
            Arg::Int(int) => Value::Int(*int),
            Arg::Float(float) => Value::Float(*float),
            Arg::Bool(is_true) => Value::Bool(*is_true),
            Arg::Nil => Value::Nil,
            Arg::Function(name) => self.function(name, &[], None, dot)?,
            Arg::Pipe(pipe, names) => members(self.pipe(pipe, dot)?, names)?,
        })
    }

    /// A label that is not there is the empty text.
    fn label(&self, name: &str) -> Value {
        Value::Text(self.scope.fields.get(name).unwrap_or("").to_owned())
    }

    fn all_labels(&self) -> Value {
        let all = self.scope.fields.all();
        let mut all: Vec<(String, Value)> =
            all.map(|(name, value)| (name.to_owned(), Value::Text(value.to_owned()))).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Value::Map(all)
    }
}

fn members(value: Value, names: &[String]) -> Result<Value, String> {
    names.iter().try_fold(value, |value, name| value.member(name))
}
