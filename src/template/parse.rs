//! Makes a tree of a template's tokens.
//!
//! Unknown functions and variables are refused here, so that a file with a typing error is refused when
//! it is loaded and not when it pages. Nesting is limited, since the walk is recursive.

use std::collections::HashMap;

use super::lex::{self, Mistake, Piece, Placed, Token};
use super::{Kind, Value, builtin};

/// The deepest nesting of blocks and parentheses.
const DEPTH_MAX: usize = 50;

/// One step of a template.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) kind: NodeKind,
}

#[derive(Debug)]
pub(super) enum NodeKind {
    Text(String),
    Print(Pipeline),
    If { condition: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    With { subject: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    Range { over: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
    Call { name: String, argument: Option<Pipeline> },
    Break,
    Continue,
}

/// Commands, each handing its value to the next, perhaps kept in variables.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) variables: Vec<String>,
    /// `=` rather than `:=`.
    pub(super) assigns: bool,
    pub(super) commands: Vec<Vec<Operand>>,
}

#[derive(Debug)]
pub(super) struct Operand {
    pub(super) base: Base,
    pub(super) fields: Vec<String>,
}

#[derive(Debug)]
pub(super) enum Base {
    Dot,
    Variable(String),
    Function(String),
    Literal(Value),
    Parenthesis(Box<Pipeline>),
}

/// A template and those it defines.
#[derive(Debug)]
pub(crate) struct Program {
    pub(super) main: Vec<Node>,
    pub(super) defined: HashMap<String, Vec<Node>>,
}

impl Program {
    /// Reads a template of a kind, or says on which line it is wrong, and why.
    pub(crate) fn parse(text: &str, kind: Kind) -> Result<Self, (usize, String)> {
        parse(text, kind)
    }

    /// Walks the names of the templates that it defines.
    pub(crate) fn defined(&self) -> impl Iterator<Item = &str> {
        self.defined.keys().map(String::as_str)
    }
}

fn parse(text: &str, kind: Kind) -> Result<Program, Mistake> {
    let pieces = lex::pieces(text)?;
    let mut parser = Parser {
        kind,
        pieces: pieces.into_iter(),
        variables: kind.variables.iter().map(|name| (*name).to_owned()).collect(),
        defined: HashMap::new(),
        depth: 0,
        n_loops: 0,
        last_line: 1,
    };
    let (main, end) = parser.list()?;
    match end {
        Stopped::Text => Ok(Program { main, defined: parser.defined }),
        Stopped::End => Err((parser.last_line, "unexpected {{end}}".to_owned())),
        Stopped::Else(_) => Err((parser.last_line, "unexpected {{else}}".to_owned())),
    }
}

struct Parser {
    kind: Kind,
    pieces: std::vec::IntoIter<Piece>,
    variables: Vec<String>,
    defined: HashMap<String, Vec<Node>>,
    depth: usize,
    n_loops: usize,
    last_line: usize,
}

/// What ended a list of nodes.
enum Stopped {
    /// Nothing is left.
    Text,
    /// `{{end}}`
    End,
    /// What follows the word `else`.
    Else(Vec<Placed>),
}

#[derive(Clone, Copy, PartialEq)]
enum Block {
    If,
    With,
    Range,
}

impl Parser {
    fn list(&mut self) -> Result<(Vec<Node>, Stopped), Mistake> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let (line, tokens) = match piece {
                Piece::Text(text) => {
                    let kind = NodeKind::Text(text);
                    nodes.push(Node { line: self.last_line, kind });
                    continue;
                }
                Piece::Action { line, tokens } => (line, tokens),
            };
            self.last_line = line;
            let keyword = match tokens.first().map(|placed| &placed.token) {
                Some(Token::Ident(word)) => word.clone(),
                _ => String::new(),
            };
            let after = tokens.get(1..).unwrap_or_default();
            match keyword.as_str() {
                "end" => return Ok((nodes, Stopped::End)),
                "else" => return Ok((nodes, Stopped::Else(after.to_vec()))),
                _ => {}
            }
            let kind = self.action(&keyword, &tokens, line)?;
            nodes.extend(kind.map(|kind| Node { line, kind }));
        }
        Ok((nodes, Stopped::Text))
    }

    fn action(
        &mut self,
        keyword: &str,
        tokens: &[Placed],
        line: usize,
    ) -> Result<Option<NodeKind>, Mistake> {
        let after = tokens.get(1..).unwrap_or_default();
        let kind = match keyword {
            "if" => self.block(Block::If, after, line)?,
            "with" => self.block(Block::With, after, line)?,
            "range" => self.block(Block::Range, after, line)?,
            "break" | "continue" if self.n_loops == 0 => {
                return Err((line, format!("{{{{{keyword}}}}} outside {{{{range}}}}")));
            }
            "break" => NodeKind::Break,
            "continue" => NodeKind::Continue,
            "template" => self.call(after, line)?,
            "define" => {
                self.define(after, line)?;
                return Ok(None);
            }
            "block" => {
                let call = self.call(after, line)?;
                self.define(&after[..1], line)?;
                call
            }
            _ => NodeKind::Print(self.pipeline(tokens, line)?),
        };
        Ok(Some(kind))
    }

    /// Reads `{{if}}`, `{{with}}` or `{{range}}` to its end; `{{else if}}` is a block in the else.
    fn block(&mut self, block: Block, head: &[Placed], line: usize) -> Result<NodeKind, Mistake> {
        self.deeper(line)?;
        let n_variables = self.variables.len();
        let subject = self.pipeline(head, line)?;
        let n_with_subject = self.variables.len();
        self.n_loops += usize::from(block == Block::Range);
        let (then, end) = self.list()?;
        self.n_loops -= usize::from(block == Block::Range);
        self.variables.truncate(n_with_subject);
        let otherwise = match end {
            Stopped::End => Vec::new(),
            Stopped::Text => return Err((line, "unexpected EOF".to_owned())),
            Stopped::Else(rest) => self.otherwise(&rest)?,
        };
        self.variables.truncate(n_variables);
        self.depth -= 1;
        Ok(match block {
            Block::If => NodeKind::If { condition: subject, then, otherwise },
            Block::With => NodeKind::With { subject, then, otherwise },
            Block::Range => NodeKind::Range { over: subject, body: then, otherwise },
        })
    }

    fn otherwise(&mut self, rest: &[Placed]) -> Result<Vec<Node>, Mistake> {
        let line = self.last_line;
        let chained = match rest.first().map(|placed| &placed.token) {
            None => None,
            Some(Token::Ident(word)) if word == "if" => Some(Block::If),
            Some(Token::Ident(word)) if word == "with" => Some(Block::With),
            Some(_) => return Err((line, "unexpected text after {{else}}".to_owned())),
        };
        if let Some(block) = chained {
            let kind = self.block(block, &rest[1..], line)?;
            return Ok(vec![Node { line, kind }]);
        }
        match self.list()? {
            (nodes, Stopped::End) => Ok(nodes),
            (_, Stopped::Else(_)) => {
                Err((self.last_line, "expected end; found {{else}}".to_owned()))
            }
            (_, Stopped::Text) => Err((line, "unexpected EOF".to_owned())),
        }
    }

    fn call(&mut self, tokens: &[Placed], line: usize) -> Result<NodeKind, Mistake> {
        let name = template_name(tokens, line)?;
        let argument = match &tokens[1..] {
            [] => None,
            rest => Some(self.pipeline(rest, line)?),
        };
        Ok(NodeKind::Call { name, argument })
    }

    fn define(&mut self, tokens: &[Placed], line: usize) -> Result<(), Mistake> {
        self.deeper(line)?;
        let name = template_name(tokens, line)?;
        let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let (nodes, end) = self.list()?;
        self.variables = outer;
        self.depth -= 1;
        if !matches!(end, Stopped::End) {
            return Err((line, format!("unclosed template {name:?}")));
        }
        self.defined.insert(name, nodes);
        Ok(())
    }

    fn deeper(&mut self, line: usize) -> Result<(), Mistake> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err((line, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        Ok(())
    }

    fn pipeline(&mut self, tokens: &[Placed], line: usize) -> Result<Pipeline, Mistake> {
        let (variables, assigns, tokens) = declaration(tokens);
        if assigns && let Some(unknown) = variables.iter().find(|v| !self.variables.contains(v)) {
            return Err((line, format!("undefined variable {unknown:?}")));
        }
        let mut reader = Reader { parser: self, tokens, idx: 0, line };
        let commands = reader.commands()?;
        if reader.idx < tokens.len() {
            return Err((line, "unexpected right paren".to_owned()));
        }
        if !assigns {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipeline { variables, assigns, commands })
    }
}

fn template_name(tokens: &[Placed], line: usize) -> Result<String, Mistake> {
    match tokens.first().map(|placed| &placed.token) {
        Some(Token::Text(name)) => Ok(name.clone()),
        _ => Err((line, "expected the template's name in quotes".to_owned())),
    }
}

/// Splits `$a, $b :=` or `$a =` off the front.
fn declaration(tokens: &[Placed]) -> (Vec<String>, bool, &[Placed]) {
    let kinds: Vec<&Token> = tokens.iter().take(4).map(|placed| &placed.token).collect();
    match kinds.as_slice() {
        [Token::Variable(a), sign @ (Token::Declare | Token::Assign), ..] => {
            (vec![a.clone()], **sign == Token::Assign, &tokens[2..])
        }
        [Token::Variable(a), Token::Comma, Token::Variable(b), sign]
            if matches!(sign, Token::Declare | Token::Assign) =>
        {
            (vec![a.clone(), b.clone()], **sign == Token::Assign, &tokens[4..])
        }
        _ => (Vec::new(), false, tokens),
    }
}

/// Reads the commands of one action or parenthesis.
struct Reader<'a> {
    parser: &'a mut Parser,
    tokens: &'a [Placed],
    idx: usize,
    line: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<&Placed> {
        self.tokens.get(self.idx)
    }

    fn commands(&mut self) -> Result<Vec<Vec<Operand>>, Mistake> {
        let mut commands = Vec::new();
        loop {
            let command = self.command()?;
            if command.is_empty() {
                return Err((self.line, "missing value for command".to_owned()));
            }
            if !commands.is_empty() && !matches!(command[0].base, Base::Function(_)) {
                let message = "non executable command in pipeline stage";
                return Err((self.line, message.to_owned()));
            }
            commands.push(command);
            match self.peek().map(|placed| &placed.token) {
                Some(Token::Pipe) => self.idx += 1,
                _ => return Ok(commands),
            }
        }
    }

    fn command(&mut self) -> Result<Vec<Operand>, Mistake> {
        let mut operands = Vec::new();
        while let Some(placed) = self.peek().cloned() {
            if matches!(placed.token, Token::Pipe | Token::Close) {
                break;
            }
            self.idx += 1;
            let mut operand = self.operand(placed.token)?;
            while let Some(Placed { token: Token::Field(name), spaced: false }) = self.peek() {
                operand.fields.push(name.clone());
                self.idx += 1;
            }
            operands.push(operand);
        }
        Ok(operands)
    }

    fn operand(&mut self, token: Token) -> Result<Operand, Mistake> {
        let mut fields = Vec::new();
        let base = match token {
            Token::Dot => Base::Dot,
            Token::Field(name) => {
                fields.push(name);
                Base::Dot
            }
            Token::Variable(name) if self.parser.variables.contains(&name) => Base::Variable(name),
            Token::Variable(name) => {
                return Err((self.line, format!("undefined variable {name:?}")));
            }
            Token::Ident(name) => self.word(name)?,
            Token::Text(text) => Base::Literal(Value::text(&text)),
            Token::Int(value) => Base::Literal(Value::Int(value)),
            Token::Float(value) => Base::Literal(Value::Float(value)),
            Token::Open => self.parenthesis()?,
            other => return Err((self.line, format!("unexpected {other:?} in operand"))),
        };
        Ok(Operand { base, fields })
    }

    fn word(&self, name: String) -> Result<Base, Mistake> {
        match name.as_str() {
            "true" => Ok(Base::Literal(Value::Bool(true))),
            "false" => Ok(Base::Literal(Value::Bool(false))),
            "nil" => Ok(Base::Literal(Value::Nil)),
            _ if builtin::is_known(&name) || self.parser.kind.knows(&name) => {
                Ok(Base::Function(name))
            }
            _ => Err((self.line, format!("function {name:?} not defined"))),
        }
    }

    fn parenthesis(&mut self) -> Result<Base, Mistake> {
        self.parser.deeper(self.line)?;
        let commands = self.commands()?;
        self.parser.depth -= 1;
        if self.peek().map(|placed| &placed.token) != Some(&Token::Close) {
            return Err((self.line, "unclosed left paren".to_owned()));
        }
        self.idx += 1;
        let pipeline = Pipeline { variables: Vec::new(), assigns: false, commands };
        Ok(Base::Parenthesis(Box::new(pipeline)))
    }
}
