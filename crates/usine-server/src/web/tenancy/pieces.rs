//! What the forms and lists of these pages are made of.

use askama::Template;
use serde::Deserialize;
use usine_db::paged::{Paged, Wanted};

use crate::web::frame::Frame;

/// One line or more of a form, with its label and what is wrong with what was written.
#[derive(Template)]
#[template(path = "tenancy/field.html")]
pub(in crate::web) struct Field {
    name: &'static str,
    label: &'static str,
    hint: &'static str,
    kind: Kind,
    value: String,
    longest: usize,
    optional: bool,
    suggestions: Vec<String>,
    error: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Line,
    Number,
    Text,
    Check,
}

impl askama::filters::HtmlSafe for Field {}

impl Field {
    fn new(kind: Kind, name: &'static str, label: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        let suggestions = Vec::new();
        Self { name, label, hint: "", kind, value, longest: 255, optional: false, suggestions, error: None }
    }

    /// A line of text, which must be there.
    pub fn line(name: &'static str, label: &'static str, value: impl Into<String>) -> Self {
        Self::new(Kind::Line, name, label, value)
    }

    /// A number, which may be left out.
    pub fn number(name: &'static str, label: &'static str, value: impl Into<String>) -> Self {
        Self::new(Kind::Number, name, label, value).optional()
    }

    /// Lines of text, which may be left out.
    pub fn text(name: &'static str, label: &'static str, value: impl Into<String>) -> Self {
        Self::new(Kind::Text, name, label, value).optional()
    }

    /// Yes or no.
    pub fn check(name: &'static str, label: &'static str, value: bool) -> Self {
        Self::new(Kind::Check, name, label, if value { "on" } else { "" })
    }

    /// It may be left out.
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// What to write, in more words.
    pub fn hint(mut self, hint: &'static str) -> Self {
        self.hint = hint;
        self
    }

    /// Longest text, in characters.
    pub fn at_most(mut self, longest: usize) -> Self {
        self.longest = longest;
        self
    }

    /// Some of what can be written.
    pub fn suggest(mut self, suggestions: Vec<String>) -> Self {
        self.suggestions = suggestions;
        self
    }

    /// What is wrong.
    pub fn wrong(mut self, error: Option<String>) -> Self {
        self.error = error;
        self
    }

    fn describes(&self) -> Option<String> {
        let hint = (!self.hint.is_empty()).then(|| format!("{}-hint", self.name));
        let error = self.error.is_some().then(|| format!("{}-error", self.name));
        let ids: Vec<String> = hint.into_iter().chain(error).collect();
        (!ids.is_empty()).then(|| ids.join(" "))
    }
}

/// The way to the other pages of a list.
#[derive(Template)]
#[template(path = "tenancy/pager.html")]
pub(in crate::web) struct Pager {
    page: u64,
    last: u64,
    /// What else is in the query, with its ampersand.
    query: String,
}

impl askama::filters::HtmlSafe for Pager {}

impl Pager {
    /// Of this list.
    pub fn of<T>(list: &Paged<T>) -> Self {
        Self { page: list.page, last: list.last, query: String::new() }
    }

    /// With another parameter in the addresses.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        if !value.is_empty() {
            let value = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
            self.query = format!("{name}={value}&");
        }
        self
    }
}

/// What lists are asked with.
#[derive(Deserialize)]
pub(in crate::web) struct Asked {
    #[serde(default)]
    page: String,
    /// What the names of rows have in them.
    #[serde(default)]
    pub name: String,
}

impl Asked {
    /// The page that is asked for, with so many rows; the first, if it is none.
    pub fn page(&self, size: u64) -> Wanted {
        Wanted { page: self.page.parse().unwrap_or(1), size }
    }
}

/// A question before something is done that cannot be undone.
#[derive(Template)]
#[template(path = "tenancy/confirm.html")]
pub(in crate::web) struct Confirm {
    pub frame: Frame,
    /// What will happen.
    pub text: Vec<String>,
    /// What the list is of.
    pub heading: &'static str,
    /// What goes away, too.
    pub list: Vec<String>,
    /// What the button says.
    pub button: &'static str,
    /// Where to go instead.
    pub back: String,
}

/// `1 user`, `2 users`.
pub(in crate::web) fn count(number: u64, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}
