//! Changes of a chain of workspaces, without a server.

use std::convert::Infallible;
use std::str::FromStr;

use serde::Deserialize;
use usine_protocol::workspace::ChainElement;

use crate::exit::failure;

/// A workspace as people name it: `3`, `name` or `scope/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parent {
    /// By its id.
    Id(i64),
    /// By its name, in the scope of the request unless it says another.
    Name {
        /// Name of the scope.
        scope: Option<String>,
        /// Its name.
        workspace: String,
    },
}

impl FromStr for Parent {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match (text.parse(), text.split_once('/')) {
            (Ok(id), _) => Self::Id(id),
            (Err(_), Some((scope, name))) => Self::Name { scope: Some(scope.to_owned()), workspace: name.to_owned() },
            (Err(_), None) => Self::Name { scope: None, workspace: text.to_owned() },
        })
    }
}

impl Parent {
    fn element(&self) -> ChainElement {
        match self.clone() {
            Self::Id(id) => ChainElement { id: Some(id), ..ChainElement::default() },
            Self::Name { scope, workspace } => ChainElement { id: None, scope, workspace: Some(workspace) },
        }
    }

    /// Whether this element of an answer, which has id, scope and name, is meant.
    fn is(&self, element: &ChainElement, default_scope: &str) -> bool {
        match self {
            Self::Id(id) => element.id == Some(*id),
            Self::Name { scope, workspace } => {
                element.workspace.as_ref() == Some(workspace)
                    && element.scope.as_deref() == Some(scope.as_deref().unwrap_or(default_scope))
            }
        }
    }
}

/// What to do with a chain, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct Changes {
    /// Add these at the end: ID, NAME or SCOPE/NAME
    #[arg(long, value_name = "WORKSPACE", num_args = 1..)]
    pub append: Vec<Parent>,
    /// Add these at the beginning
    #[arg(long, value_name = "WORKSPACE", num_args = 1..)]
    pub prepend: Vec<Parent>,
    /// Take these away
    #[arg(long, value_name = "WORKSPACE", num_args = 1..)]
    pub remove: Vec<Parent>,
    /// Have these and no others; without any, none
    #[arg(long, value_name = "WORKSPACE", num_args = 0..)]
    pub set: Option<Vec<Parent>>,
}

impl Changes {
    /// The chain after the changes. Names without scope are of `scope`.
    pub fn apply(&self, chain: Vec<ChainElement>, scope: &str) -> Vec<ChainElement> {
        let elements = |parents: &[Parent]| parents.iter().map(Parent::element).collect::<Vec<_>>();
        if let Some(parents) = &self.set {
            return elements(parents);
        }
        let is_removed = |element: &ChainElement| self.remove.iter().any(|parent| parent.is(element, scope));
        let mut changed = elements(&self.prepend);
        changed.extend(chain);
        changed.extend(elements(&self.append));
        changed.retain(|element| !is_removed(element));
        changed
    }
}

/// A chain as a person leaves it in an editor: the mapping that is shown, or names and ids instead of its elements.
pub fn read(text: &str) -> anyhow::Result<Vec<ChainElement>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Edited {
        chain: Vec<Element>,
    }
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected an id, a name, scope/name, or a mapping with id, scope and workspace")]
    enum Element {
        Id(i64),
        Name(String),
        Whole(ChainElement),
    }
    let edited: Edited = serde_json::from_value(crate::input::parse_yaml(text)?)?;
    let elements = edited.chain.into_iter().map(|element| match element {
        Element::Id(id) => Parent::Id(id).element(),
        Element::Name(name) => {
            let Ok(parent) = name.parse::<Parent>();
            parent.element()
        }
        Element::Whole(element) => element,
    });
    let elements: Vec<ChainElement> = elements.collect();
    match elements.iter().position(|element| element.id.is_none() && element.workspace.is_none()) {
        Some(index) => Err(failure(format!("Error: element {} of the chain has neither id nor workspace", index + 1))),
        None => Ok(elements),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parents(text: &str) -> Vec<Parent> {
        text.split_whitespace().map(|text| text.parse().unwrap()).collect()
    }

    fn answered(id: i64, scope: &str, name: &str) -> ChainElement {
        ChainElement { id: Some(id), scope: Some(scope.to_owned()), workspace: Some(name.to_owned()) }
    }

    fn names(chain: &[ChainElement]) -> Vec<String> {
        let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "?".to_owned());
        let name = |element: &ChainElement| match element.id {
            Some(id) => id.to_string(),
            None => format!("{}/{}", part(&element.scope), part(&element.workspace)),
        };
        chain.iter().map(name).collect()
    }

    #[test]
    fn changes_come_in_their_order() {
        let chain = vec![answered(1, "debusine", "base"), answered(2, "other", "base"), answered(3, "debusine", "x")];
        let changes = Changes {
            append: parents("9 last"),
            prepend: parents("a/first second"),
            remove: parents("base 3 absent 9"),
            set: None,
        };
        assert_eq!(names(&changes.apply(chain.clone(), "debusine")), ["a/first", "?/second", "2", "?/last"]);
        let remove = |text| Changes { remove: parents(text), ..Changes::default() };
        assert_eq!(names(&remove("base").apply(chain.clone(), "other")), ["1", "3"]);
        assert_eq!(names(&remove("other/base").apply(chain.clone(), "debusine")), ["1", "3"]);
        let set = Changes { set: Some(parents("7")), ..changes };
        assert_eq!(names(&set.apply(chain, "debusine")), ["7"]);
        let none = Changes { set: Some(Vec::new()), ..Changes::default() };
        assert!(none.apply(vec![answered(1, "a", "b")], "debusine").is_empty());
    }

    #[test]
    fn people_may_write_names() {
        let text = "chain:\n- id: 4\n  scope: debusine\n  workspace: System\n- 5\n- a/b\n- c\n";
        assert_eq!(names(&read(text).unwrap()), ["4", "5", "a/b", "?/c"]);
        for wrong in ["", "chain: [[]]", "chain: [{scope: a}]", "chain: []\nx: 1", "- 1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
