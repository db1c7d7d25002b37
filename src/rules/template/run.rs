//! Walks a template's tree and writes its text.

use std::sync::Arc;

use super::parse::{Base, Node, NodeKind, Operand, Pipeline, Program};
use super::{Answers, Data, OUTPUT_BYTES_MAX, STEPS_MAX, Stop, Value, builtin, format, functions};

/// The deepest chain of templates that call each other.
const CALLS_MAX: usize = 20;

/// Expands a template once; see [`Stop`] for how it may end early.
pub(super) fn run(
    name: &str,
    program: &Program,
    data: &Data,
    answers: &Answers,
) -> Result<String, Stop> {
    let root = root(data);
    let mut run = Run {
        program,
        data,
        answers,
        output: String::new(),
        variables: preset(&root),
        steps_left: STEPS_MAX,
        n_calls: 0,
        line: 1,
    };
    match run.list(&program.main, &root) {
        Ok(_) => Ok(run.output),
        Err(Stop::Fail(reason)) => Stop::fail(format!("template: {name}:{}: {reason}", run.line)),
        Err(stop) => Err(stop),
    }
}

fn root(data: &Data) -> Value {
    Value::Record(Arc::new(vec![
        ("Labels", Value::Labels(data.labels.clone())),
        ("Value", Value::Float(data.value)),
        ("ExternalLabels", Value::Labels(data.external_labels.clone())),
        ("ExternalURL", Value::text(&data.external_url)),
    ]))
}

/// The variables of [`super::parse::PRESET_VARIABLES`] with their values.
fn preset(root: &Value) -> Vec<(String, Value)> {
    let field = |name| root.field(name).unwrap_or(Value::Nil);
    vec![
        ("$".to_owned(), root.clone()),
        ("$labels".to_owned(), field("Labels")),
        ("$externalLabels".to_owned(), field("ExternalLabels")),
        ("$externalURL".to_owned(), field("ExternalURL")),
        ("$value".to_owned(), field("Value")),
    ]
}

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

pub(super) struct Run<'a> {
    program: &'a Program,
    pub(super) data: &'a Data,
    pub(super) answers: &'a Answers,
    output: String,
    variables: Vec<(String, Value)>,
    steps_left: u32,
    n_calls: usize,
    line: usize,
}

impl Run<'_> {
    pub(super) fn step(&mut self) -> Result<(), Stop> {
        self.steps_left = match self.steps_left.checked_sub(1) {
            Some(left) => left,
            None => return Stop::fail(format!("more than {STEPS_MAX} steps")),
        };
        Ok(())
    }

    fn write(&mut self, text: &str) -> Result<(), Stop> {
        if self.output.len() + text.len() > OUTPUT_BYTES_MAX {
            return Stop::fail(format!("more than {OUTPUT_BYTES_MAX} bytes of output"));
        }
        self.output.push_str(text);
        Ok(())
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
                    let text = format::print(&value);
                    self.write(&text)?;
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
        let items = items(&subject)?;
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

    /// Runs a template of this file with its own variables, where it stands in the output.
    fn call_template(&mut self, name: &str, argument: Value) -> Result<(), Stop> {
        let program = self.program;
        let Some(nodes) = program.defined.get(name) else {
            return Stop::fail(format!("template {name:?} not defined"));
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

    /// Runs a template of this file and returns what it wrote: the function `tmpl`.
    pub(super) fn template_text(&mut self, name: &str, argument: Value) -> Result<String, Stop> {
        let outer = std::mem::take(&mut self.output);
        let result = self.call_template(name, argument);
        let text = std::mem::replace(&mut self.output, outer);
        result.map(|()| text)
    }

    fn keep(&mut self, name: &str, value: Value, assigns: bool) {
        let place = self.variables.iter_mut().rev().find(|(n, _)| assigns && n == name);
        match place {
            Some((_, kept)) => *kept = value,
            None => self.variables.push((name.to_owned(), value)),
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Stop> {
        let value = self.commands(&pipeline.commands, dot)?;
        for name in &pipeline.variables {
            self.keep(name, value.clone(), pipeline.assigns);
        }
        Ok(value)
    }

    fn commands(&mut self, commands: &[Vec<Operand>], dot: &Value) -> Result<Value, Stop> {
        let mut handed = None;
        for command in commands {
            handed = Some(self.command(command, handed, dot)?);
        }
        Ok(handed.unwrap_or(Value::Nil))
    }

    /// Runs one command; `handed` is what the command before it yields, its last argument.
    fn command(
        &mut self,
        command: &[Operand],
        handed: Option<Value>,
        dot: &Value,
    ) -> Result<Value, Stop> {
        self.step()?;
        let (first, rest) = match command {
            [first, rest @ ..] => (first, rest),
            [] => return Ok(Value::Nil),
        };
        let Base::Function(name) = &first.base else {
            if !rest.is_empty() {
                return Stop::fail("can't give argument to non-function");
            }
            return self.operand(first, dot);
        };
        if matches!(name.as_str(), "and" | "or") {
            return self.first_decisive(name == "or", rest, handed, dot);
        }
        let mut arguments = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(handed);
        let value = self.call(name, &arguments)?;
        self.fields(value, &first.fields)
    }

    /// `and` and `or`: evaluates only as far as the answer is open.
    fn first_decisive(
        &mut self,
        is_or: bool,
        operands: &[Operand],
        handed: Option<Value>,
        dot: &Value,
    ) -> Result<Value, Stop> {
        let mut last = None;
        for operand in operands {
            let value = self.operand(operand, dot)?;
            if value.is_true() == is_or {
                return Ok(value);
            }
            last = Some(value);
        }
        match handed.or(last) {
            Some(value) => Ok(value),
            None => Stop::fail("wrong number of args: want at least 1 got 0"),
        }
    }

    fn call(&mut self, name: &str, arguments: &[Value]) -> Result<Value, Stop> {
        let result = match builtin::call(name, arguments) {
            Some(result) => result,
            None => functions::call(self, name, arguments),
        };
        match result {
            Err(Stop::Fail(reason)) => Stop::fail(format!("error calling {name}: {reason}")),
            Ok(Value::Text(text)) if text.len() > OUTPUT_BYTES_MAX => {
                Stop::fail(format!("error calling {name}: more than {OUTPUT_BYTES_MAX} bytes"))
            }
            other => other,
        }
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, Stop> {
        let base = match &operand.base {
            Base::Dot => dot.clone(),
            Base::Variable(name) => {
                let kept = self.variables.iter().rev().find(|(n, _)| n == name);
                kept.map_or(Value::Nil, |(_, value)| value.clone())
            }
            Base::Literal(value) => value.clone(),
            Base::Function(name) => self.call(name, &[])?,
            Base::Parenthesis(pipeline) => self.pipeline(pipeline, dot)?,
        };
        self.fields(base, &operand.fields)
    }

    fn fields(&mut self, mut value: Value, fields: &[String]) -> Result<Value, Stop> {
        for name in fields {
            self.step()?;
            value = value.field(name)?;
        }
        Ok(value)
    }
}

/// Returns what `range` walks over.
fn items(subject: &Value) -> Result<Vec<(Value, Value)>, Stop> {
    match subject {
        Value::List(values) => {
            let keys = (0_i64..).map(Value::Int);
            Ok(keys.zip(values.iter().cloned()).collect())
        }
        Value::Labels(labels) => {
            Ok(labels.iter().map(|(n, v)| (Value::text(n), Value::text(v))).collect())
        }
        Value::Args(values) => {
            let named = values.iter().enumerate();
            Ok(named.map(|(i, v)| (Value::text(&format!("arg{i}")), v.clone())).collect())
        }
        Value::Int(n) => {
            Ok((0..*n).take(STEPS_MAX as usize).map(|i| (Value::Int(i), Value::Int(i))).collect())
        }
        Value::Nil => Ok(Vec::new()),
        other => Stop::fail(format!("range can't iterate over {}", format::print(other))),
    }
}
