//! Tokens to a tree.

use super::functions::is_function;
use super::lexer::{Piece, Tok, pieces, tokens};

/// A part of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    /// `{{ pipe }}`
    Action(Pipe),
    If(Pipe, Vec<Node>, Vec<Node>),
    With(Pipe, Vec<Node>, Vec<Node>),
    Range(Pipe, Vec<Node>, Vec<Node>),
    Break,
    Continue,
}

/// `$x := a | b c`
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pipe {
    pub(super) variables: Vec<String>,
    pub(super) is_declaration: bool,
    pub(super) commands: Vec<Vec<Arg>>,
}

/// An operand.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Arg {
    /// `.a.b`
    Field(Vec<String>),
    /// `$x.a`
    Variable(String, Vec<String>),
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Nil,
    Function(String),
    /// `(…).a`
    Pipe(Box<Pipe>, Vec<String>),
}

/// The deepest nesting of blocks and parentheses.
const DEPTH_MAX: usize = 32;

/// Parses a template.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, String> {
    let pieces = pieces(text)?;
    let mut parser = Parser { pieces: &pieces, at: 0 };
    let (nodes, end) = parser.block(0)?;
    match end {
        Ended::Text => Ok(nodes),
        Ended::End => Err("unexpected {{end}}".to_owned()),
        Ended::Else(_) => Err("unexpected {{else}}".to_owned()),
    }
}

struct Parser<'a> {
    pieces: &'a [Piece<'a>],
    at: usize,
}

/// What ended a block.
enum Ended {
    Text,
    End,
    /// With what stands behind `else`.
    Else(Vec<Tok>),
}

impl Parser<'_> {
    fn block(&mut self, depth: usize) -> Result<(Vec<Node>, Ended), String> {
        if depth > DEPTH_MAX {
            return Err(format!("blocks are nested more than {DEPTH_MAX} deep"));
        }
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.get(self.at) {
            self.at += 1;
            let action = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text((*text).to_owned()));
                    continue;
                }
                Piece::Action(action) => tokens(action)?,
            };
            match action.first() {
                Some(Tok::Word(word)) if word == "end" => return Ok((nodes, Ended::End)),
                Some(Tok::Word(word)) if word == "else" => {
                    return Ok((nodes, Ended::Else(action[1..].to_vec())));
                }
                Some(Tok::Word(word)) if word == "break" => nodes.push(Node::Break),
                Some(Tok::Word(word)) if word == "continue" => nodes.push(Node::Continue),
                Some(Tok::Word(word)) if ["if", "with", "range"].contains(&word.as_str()) => {
                    nodes.push(self.branch(word, &action[1..], depth)?);
                }
                Some(Tok::Word(word))
                    if ["define", "template", "block"].contains(&word.as_str()) =>
                {
                    return Err(format!("{{{{{word}}}}} is not supported here"));
                }
                _ => nodes.push(Node::Action(pipe(&action)?)),
            }
        }
        Ok((nodes, Ended::Text))
    }

    fn branch(&mut self, word: &str, condition: &[Tok], depth: usize) -> Result<Node, String> {
        let condition = pipe(condition)?;
        let (then, end) = self.block(depth + 1)?;
        let otherwise = match end {
            Ended::Text => return Err("unexpected EOF".to_owned()),
            Ended::End => Vec::new(),
            Ended::Else(behind) => match behind.split_first() {
                None => {
                    let (otherwise, end) = self.block(depth + 1)?;
                    if !matches!(end, Ended::End) {
                        return Err("expected end; found {{else}}".to_owned());
                    }
                    otherwise
                }
                // `else if` shares its `end` with the first one.
                Some((Tok::Word(word), behind)) if word == "if" || word == "with" => {
                    if depth > DEPTH_MAX {
                        return Err(format!("blocks are nested more than {DEPTH_MAX} deep"));
                    }
                    vec![self.branch(word, behind, depth + 1)?]
                }
                Some(_) => return Err("unexpected token behind else".to_owned()),
            },
        };
        Ok(match word {
            "if" => Node::If(condition, then, otherwise),
            "with" => Node::With(condition, then, otherwise),
            _ => Node::Range(condition, then, otherwise),
        })
    }
}

fn pipe(tokens: &[Tok]) -> Result<Pipe, String> {
    let mut at = 0;
    let pipe = pipe_at(tokens, &mut at, 0)?;
    match tokens.get(at) {
        None => Ok(pipe),
        Some(token) => Err(format!("unexpected {token:?} in command")),
    }
}

fn pipe_at(tokens: &[Tok], at: &mut usize, depth: usize) -> Result<Pipe, String> {
    if depth > DEPTH_MAX {
        return Err(format!("parentheses are nested more than {DEPTH_MAX} deep"));
    }
    let (variables, is_declaration) = declaration(tokens, at);
    let mut commands = vec![Vec::new()];
    while let Some(token) = tokens.get(*at) {
        let command = commands.last_mut().expect("there is always one");
        match token {
            Tok::Close(_) => break,
            Tok::Pipe if command.is_empty() => return Err("missing value for command".to_owned()),
            Tok::Pipe => commands.push(Vec::new()),
            Tok::Open => {
                *at += 1;
                let inner = pipe_at(tokens, at, depth + 1)?;
                let Some(Tok::Close(names)) = tokens.get(*at) else {
                    return Err("unclosed left paren".to_owned());
                };
                command.push(Arg::Pipe(Box::new(inner), names.clone()));
            }
            other => command.push(operand(other)?),
        }
        *at += 1;
    }
    if commands.last().is_none_or(Vec::is_empty) {
        return Err("missing value for command".to_owned());
    }
    check_commands(&commands)?;
    Ok(Pipe { variables, is_declaration, commands })
}

/// Only functions take arguments.
fn check_commands(commands: &[Vec<Arg>]) -> Result<(), String> {
    for (idx, command) in commands.iter().enumerate() {
        let takes = matches!(command[0], Arg::Function(_));
        if !takes && (command.len() > 1 || idx > 0) {
            return Err(format!("can't give argument to non-function {:?}", command[0]));
        }
    }
    Ok(())
}

/// Reads `$x :=`, `$x =` or `$i, $x :=`.
fn declaration(tokens: &[Tok], at: &mut usize) -> (Vec<String>, bool) {
    let is_plain = |token: Option<&Tok>| match token {
        Some(Tok::Variable(name, names)) if names.is_empty() => Some(name.clone()),
        _ => None,
    };
    let rest = &tokens[*at..];
    let Some(first) = is_plain(rest.first()) else { return (Vec::new(), false) };
    match (rest.get(1), rest.get(3)) {
        (Some(Tok::Declare), _) => {
            *at += 2;
            (vec![first], true)
        }
        (Some(Tok::Assign), _) => {
            *at += 2;
            (vec![first], false)
        }
        (Some(Tok::Comma), Some(Tok::Declare)) => match is_plain(rest.get(2)) {
            Some(second) => {
                *at += 4;
                (vec![first, second], true)
            }
            None => (Vec::new(), false),
        },
        _ => (Vec::new(), false),
    }
}

fn operand(token: &Tok) -> Result<Arg, String> {
    Ok(match token {
        Tok::Field(names) => Arg::Field(names.clone()),
        Tok::Variable(name, names) => Arg::Variable(name.clone(), names.clone()),
        Tok::Text(text) => Arg::Text(text.clone()),
        Tok::Int(int) => Arg::Int(*int),
        Tok::Float(float) => Arg::Float(*float),
        Tok::Word(word) => match word.as_str() {
            "true" => Arg::Bool(true),
            "false" => Arg::Bool(false),
            "nil" => Arg::Nil,
            word if is_function(word) => Arg::Function(word.to_owned()),
            word => return Err(format!("function {word:?} not defined")),
        },
        other => return Err(format!("unexpected {other:?} in operand")),
    })
}

/// Returns the fields of the labels that the nodes name, or `None` when they may look at any.
pub(super) fn fields(nodes: &[Node]) -> Option<Vec<String>> {
    let mut found = Vec::new();
    fields_of_nodes(nodes, &mut found).then_some(found)
}

fn fields_of_nodes(nodes: &[Node], found: &mut Vec<String>) -> bool {
    nodes.iter().all(|node| match node {
        Node::Text(_) | Node::Break | Node::Continue => true,
        Node::Action(pipe) => fields_of_pipe(pipe, found),
        Node::If(pipe, then, otherwise)
        | Node::With(pipe, then, otherwise)
        | Node::Range(pipe, then, otherwise) => {
            fields_of_pipe(pipe, found)
                && fields_of_nodes(then, found)
                && fields_of_nodes(otherwise, found)
        }
    })
}

fn fields_of_pipe(pipe: &Pipe, found: &mut Vec<String>) -> bool {
    pipe.commands.iter().flatten().all(|arg| match arg {
        Arg::Field(names) | Arg::Variable(_, names) => {
            found.extend(names.first().cloned());
            // The dot and `$` are all labels at once.
            let is_all = matches!(arg, Arg::Field(_))
                || matches!(arg, Arg::Variable(name, _) if name == "$");
            !(is_all && names.is_empty())
        }
        Arg::Pipe(inner, _) => fields_of_pipe(inner, found),
        _ => true,
    })
}
