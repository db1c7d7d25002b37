//! What expressions yield: pipelines of commands, functions, methods, fields.

use super::parse::{Base, Operand, Pipeline};
use super::run::Run;
use super::{Stop, Value, builtin};

impl Run<'_> {
    /// Returns what a pipeline yields, which its variables are set to.
    pub(super) fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Stop> {
        let value = self.commands(&pipeline.commands, dot)?;
        for name in &pipeline.variables {
            self.keep(name, value.clone(), pipeline.assigns);
        }
        Ok(value)
    }

    /// Returns what the last of the commands yields.
    pub(super) fn commands(
        &mut self,
        commands: &[Vec<Operand>],
        dot: &Value,
    ) -> Result<Value, Stop> {
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
            if rest.is_empty() {
                return self.operand(first, dot);
            }
            let Some((method, before)) = first.fields.split_last() else {
                return Stop::fail("can't give argument to non-function");
            };
            let of = self.base(&first.base, dot)?;
            let of = self.fields(of, before)?;
            let arguments = self.operands(rest, dot)?;
            return self.method(&of, method, &arguments);
        };
        if matches!(name.as_str(), "and" | "or") {
            return self.first_decisive(name == "or", rest, handed, dot);
        }
        let mut arguments = self.operands(rest, dot)?;
        arguments.extend(handed);
        let value = self.call(name, &arguments)?;
        self.fields(value, &first.fields)
    }

    fn operands(&mut self, operands: &[Operand], dot: &Value) -> Result<Vec<Value>, Stop> {
        let mut values = Vec::with_capacity(operands.len() + 1);
        for operand in operands {
            values.push(self.operand(operand, dot)?);
        }
        Ok(values)
    }

    fn method(&mut self, of: &Value, name: &str, arguments: &[Value]) -> Result<Value, Stop> {
        self.step()?;
        match self.host.method(of, name, arguments) {
            Some(done) => done,
            None => Stop::fail(format!("{name} has arguments but cannot be invoked as function")),
        }
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
            None => {
                self.step()?;
                let host = self.host;
                host.call(self, name, arguments)
            }
        };
        let max = self.limits.output_bytes_max;
        match result {
            Err(Stop::Fail(reason)) => Stop::fail(format!("error calling {name}: {reason}")),
            Ok(Value::Text(text)) if text.len() > max => {
                Stop::fail(format!("error calling {name}: more than {max} bytes"))
            }
            other => other,
        }
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, Stop> {
        let base = self.base(&operand.base, dot)?;
        self.fields(base, &operand.fields)
    }

    fn base(&mut self, base: &Base, dot: &Value) -> Result<Value, Stop> {
        Ok(match base {
            Base::Dot => dot.clone(),
            Base::Variable(name) => {
                let kept = self.variables.iter().rev().find(|(n, _)| n == name);
                kept.map_or(Value::Nil, |(_, value)| value.clone())
            }
            Base::Literal(value) => value.clone(),
            Base::Function(name) => self.call(name, &[])?,
            Base::Parenthesis(pipeline) => self.pipeline(pipeline, dot)?,
        })
    }

    fn fields(&mut self, mut value: Value, fields: &[String]) -> Result<Value, Stop> {
        for name in fields {
            self.step()?;
            value = match (self.host.method(&value, name, &[]), &value) {
                (Some(done), _) => done?,
                (None, Value::Root) => self.host.root_field(name)?,
                (None, value) => value.field(name)?,
            };
        }
        Ok(value)
    }
}
