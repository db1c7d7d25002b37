//! What a template's text alone says of what it will look at: fields of its data, other templates.

use super::parse::{Base, Node, NodeKind, Pipeline, Program};

impl Program {
    /// Returns the fields of the root that it names, or `None` when it may look at any.
    pub(crate) fn root_fields(&self) -> Option<Vec<String>> {
        let mut found = Vec::new();
        // What is handed to another template may be the root.
        let is_known = self.defined.is_empty() && fields_of_nodes(&self.main, &mut found);
        is_known.then_some(found)
    }

    /// Walks the names of the templates that it calls and does not define.
    pub(crate) fn called(&self) -> impl Iterator<Item = &str> {
        let mut found = Vec::new();
        std::iter::once(&self.main).chain(self.defined.values()).for_each(|list| {
            called_in(list, &mut found);
        });
        found.into_iter().filter(|name| !self.defined.contains_key(*name))
    }
}

fn fields_of_nodes(nodes: &[Node], found: &mut Vec<String>) -> bool {
    nodes.iter().all(|node| match &node.kind {
        NodeKind::Text(_) | NodeKind::Break | NodeKind::Continue => true,
        NodeKind::Print(pipeline) => fields_of_pipeline(pipeline, found),
        NodeKind::If { condition: pipeline, then, otherwise }
        | NodeKind::With { subject: pipeline, then, otherwise }
        | NodeKind::Range { over: pipeline, body: then, otherwise } => {
            fields_of_pipeline(pipeline, found)
                && fields_of_nodes(then, found)
                && fields_of_nodes(otherwise, found)
        }
        NodeKind::Call { .. } => false,
    })
}

fn fields_of_pipeline(pipeline: &Pipeline, found: &mut Vec<String>) -> bool {
    pipeline.commands.iter().flatten().all(|operand| match &operand.base {
        Base::Dot | Base::Variable(_) => {
            found.extend(operand.fields.first().cloned());
            // The dot and `$` are the root as a whole; what other variables hold was looked at before.
            let is_root = match &operand.base {
                Base::Variable(name) => name == "$",
                _ => true,
            };
            !(is_root && operand.fields.is_empty())
        }
        Base::Parenthesis(inner) => fields_of_pipeline(inner, found),
        Base::Function(_) | Base::Literal(_) => true,
    })
}

fn called_in<'p>(nodes: &'p [Node], found: &mut Vec<&'p str>) {
    for node in nodes {
        match &node.kind {
            NodeKind::Call { name, .. } => found.push(name),
            NodeKind::If { then, otherwise, .. }
            | NodeKind::With { then, otherwise, .. }
            | NodeKind::Range { body: then, otherwise, .. } => {
                called_in(then, found);
                called_in(otherwise, found);
            }
            NodeKind::Text(_) | NodeKind::Print(_) | NodeKind::Break | NodeKind::Continue => {}
        }
    }
}
