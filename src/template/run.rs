//! Walks a template's tree and writes its text; what expressions yield is `evaluate`'s.

use super::parse::{Node, NodeKind, Pipeline, Program};
use super::{Stop, Value, builtin, format};

/// The deepest chain of templates that call each other.
const CALLS_MAX: usize = 20;

/// How far one run may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The most bytes it may write.
    pub(crate) output_bytes_max: usize,
    /// The most steps it may take; a step is a node, a call or an iteration.
    pub(crate) steps_max: u32,
}

/// Whoever runs a template.
pub(crate) trait Host {
    /// Calls a function that is not Go's own; the kind of the template says which there are.
    fn call(&self, run: &mut Run<'_>, name: &str, arguments: &[Value]) -> Result<Value, Stop>;

    /// Calls a method of a value, or returns `None` when it has none of that name.
    fn method(
        &self,
        _of: &Value,
        _name: &str,
        _arguments: &[Value],
    ) -> Option<Result<Value, Stop>> {
        None
    }

    /// Returns a field of [`Value::Root`].
    fn root_field(&self, name: &str) -> Result<Value, Stop> {
        Stop::fail(format!("can't evaluate field {name} in type struct"))
    }

    /// Returns what [`Value::Root`] is as a whole.
    fn root(&self) -> Value {
        Value::Nil
    }

    /// Returns a template that others defined.
    fn defined(&self, _name: &str) -> Option<&Program> {
        None
    }

    /// Returns whether the text around is HTML: what is printed into it is escaped.
    fn is_html(&self) -> bool {
        false
    }

    /// Writes a template that needs no text of its own.
    fn written(&self, _name: &str, _argument: &Value) -> Option<Result<String, Stop>> {
        None
    }
}

impl Program {
    /// Runs the template once; see [`Stop`] for how it may end early. A failure comes with its line.
    /// The variables are those of its kind, with their values.
    pub(crate) fn run(
        &self,
        host: &dyn Host,
        limits: Limits,
        dot: &Value,
        variables: Vec<(String, Value)>,
    ) -> Result<String, (usize, Stop)> {
        let mut run = Run {
            program: self,
            host,
            limits,
            output: String::new(),
            variables,
            steps_left: limits.steps_max,
            n_calls: 0,
            line: 1,
        };
        match run.list(&self.main, dot) {
            Ok(_) => Ok(run.output),
            Err(stop) => Err((run.line, stop)),
        }
    }
}

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// A run under way.
pub(crate) struct Run<'a> {
    program: &'a Program,
    pub(super) host: &'a dyn Host,
    pub(super) limits: Limits,
    output: String,
    pub(super) variables: Vec<(String, Value)>,
    steps_left: u32,
    n_calls: usize,
    line: usize,
}

impl<'a> Run<'a> {
    /// Takes one step of the fuel.
    pub(crate) fn step(&mut self) -> Result<(), Stop> {
        self.steps_left = match self.steps_left.checked_sub(1) {
            Some(left) => left,
            None => return Stop::fail(format!("more than {} steps", self.limits.steps_max)),
        };
        Ok(())
    }

    fn write(&mut self, text: &str) -> Result<(), Stop> {
        let max = self.limits.output_bytes_max;
        if self.output.len() + text.len() > max {
            return Stop::fail(format!("more than {max} bytes of output"));
        }
        self.output.push_str(text);
        Ok(())
    }

    fn print(&mut self, value: &Value) -> Result<(), Stop> {
        match value {
            Value::Text(text) if !self.host.is_html() => self.write(text),
            Value::Safe(text) => self.write(text),
            other => {
                let root = matches!(other, Value::Root).then(|| self.host.root());
                let text = format::print(root.as_ref().unwrap_or(other));
                match self.host.is_html() {
                    true => self.write(&builtin::escape_html(&text)),
                    false => self.write(&text),
                }
            }
        }
    }

    fn list(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, Stop> {
        for node in nodes {
            self.step()?;
            self.line = node.line;
            let flow = self.node(&node.kind, dot)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, kind: &NodeKind, dot: &Value) -> Result<Flow, Stop> {
        match kind {
            NodeKind::Text(text) => self.write(text)?,
            NodeKind::Print(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.print(&value)?;
                }
            }
            NodeKind::If { condition, then, otherwise } => {
                return self.branch(condition, then, otherwise, dot, false);
            }
            NodeKind::With { subject, then, otherwise } => {
                return self.branch(subject, then, otherwise, dot, true);
            }
            NodeKind::Range { over, body, otherwise } => {
                return self.range(over, body, otherwise, dot);
            }
            NodeKind::Call { name, argument } => {
                let argument = match argument {
                    Some(pipeline) => self.pipeline(pipeline, dot)?,
                    None => Value::Nil,
                };
                self.call_template(name, argument)?;
            }
            NodeKind::Break => return Ok(Flow::Break),
            NodeKind::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn branch(
        &mut self,
        subject: &Pipeline,
        then: &[Node],
        otherwise: &[Node],
        dot: &Value,
        moves_dot: bool,
    ) -> Result<Flow, Stop> {
        let n_variables = self.variables.len();
        let value = self.pipeline(subject, dot)?;
        let flow = if value.is_true() {
            self.list(then, if moves_dot { &value } else { dot })
        } else {
            self.list(otherwise, dot)
        };
        self.variables.truncate(n_variables);
        flow
    }

    fn range(
        &mut self,
        over: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<Flow, Stop> {
        let n_outer = self.variables.len();
        let subject = self.commands(&over.commands, dot)?;
        let items = items(&subject, self.limits.steps_max)?;
        if items.is_empty() {
            return self.list(otherwise, dot);
        }
        for (key, value) in items {
            self.step()?;
            match over.variables.as_slice() {
                [one] => self.keep(one, value.clone(), over.assigns),
                [first, second] => {
                    self.keep(first, key, over.assigns);
                    self.keep(second, value.clone(), over.assigns);
                }
                _ => {}
            }
            let flow = self.list(body, &value)?;
            self.variables.truncate(n_outer);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::Next)
    }

    /// Runs a template of this file or of the host with its own variables, where it stands in the
    /// output.
    fn call_template(&mut self, name: &str, argument: Value) -> Result<(), Stop> {
        let (program, host): (&'a Program, &'a dyn Host) = (self.program, self.host);
        let own = program.defined.get(name);
        let found = own.or_else(|| host.defined(name).and_then(|other| other.defined.get(name)));
        let Some(nodes) = found else {
            return match host.written(name, &argument) {
                Some(text) => self.write(&text?),
                None => Stop::fail(format!("template {name:?} not defined")),
            };
        };
        if self.n_calls == CALLS_MAX {
            return Stop::fail(format!("templates call each other more than {CALLS_MAX} deep"));
        }
        self.n_calls += 1;
        let own = vec![("$".to_owned(), argument.clone())];
        let outer = std::mem::replace(&mut self.variables, own);
        let result = self.list(nodes, &argument);
        self.variables = outer;
        self.n_calls -= 1;
        result.map(|_| ())
    }

    /// Runs a template and returns what it wrote: the function `tmpl`.
    pub(crate) fn template_text(&mut self, name: &str, argument: Value) -> Result<String, Stop> {
        let outer = std::mem::take(&mut self.output);
        let result = self.call_template(name, argument);
        let text = std::mem::replace(&mut self.output, outer);
        result.map(|()| text)
    }

    pub(super) fn keep(&mut self, name: &str, value: Value, assigns: bool) {
        let place = self.variables.iter_mut().rev().find(|(n, _)| assigns && n == name);
        match place {
            Some((_, kept)) => *kept = value,
            None => self.variables.push((name.to_owned(), value)),
        }
    }
}

/// Returns what `range` walks over.
fn items(subject: &Value, items_max: u32) -> Result<Vec<(Value, Value)>, Stop> {
    match subject {
        Value::List(values) => {
            let keys = (0_i64..).map(Value::Int);
            Ok(keys.zip(values.iter().cloned()).collect())
        }
        Value::Labels(labels) => {
            Ok(labels.iter().map(|(n, v)| (Value::text(n), Value::text(v))).collect())
        }
        Value::Map(map) => {
            Ok(map.iter().map(|(name, value)| (Value::text(name), value.clone())).collect())
        }
        Value::Args(values) => {
            let named = values.iter().enumerate();
            Ok(named.map(|(i, v)| (Value::text(&format!("arg{i}")), v.clone())).collect())
        }
        Value::Int(n) => {
            // One more than there is fuel for: the run ends for want of it.
            let n = (*n).min(i64::from(items_max).saturating_add(1));
            Ok((0..n).map(|i| (Value::Int(i), Value::Int(i))).collect())
        }
        Value::Nil => Ok(Vec::new()),
        other => Stop::fail(format!("range can't iterate over {}", format::print(other))),
    }
}
