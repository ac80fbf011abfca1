//! How things are found on a page: by what they are called, as XPath.

use thirtyfour::By;

/// A link with this text, or with this name for screen readers.
pub fn link(name: &str) -> By {
    named("self::a[@href]", name)
}

/// A button with this text, or what opens and closes details.
pub fn button(name: &str) -> By {
    named("self::button or self::summary or self::a[@role='button']", name)
}

/// What opens and closes details, by the beginning of its text.
pub fn summary(beginning: &str) -> By {
    By::XPath(format!(".//summary[starts-with(normalize-space(), {})]", quoted(beginning)))
}

/// A field with this label, around it or beside it.
pub fn field(label: &str) -> By {
    let name = quoted(label);
    let field = "self::input or self::textarea or self::select";
    By::XPath(format!(
        ".//*[{field}][@id = //label[normalize-space() = {name}]/@for or @aria-label = {name} \
         or ancestor::label[normalize-space(text()) = {name} or normalize-space() = {name} or normalize-space(span) = {name}]]"
    ))
}

/// The innermost row, list entry, card or region that has this text, or is called so.
pub fn part(text: &str) -> By {
    let text = quoted(text);
    let kind = "self::tr or self::li or self::section or self::article or self::fieldset or self::details or self::nav or self::dl \
                or self::form or @role='region'";
    let holds = format!("[{kind}][contains(normalize-space(), {text}) or @aria-label = {text}]");
    By::XPath(format!(".//*{holds}[not(.//*{holds})]"))
}

fn named(kind: &str, name: &str) -> By {
    let name = quoted(name);
    By::XPath(format!(".//*[{kind}][normalize-space() = {name} or @aria-label = {name}]"))
}

/// A text as a literal of XPath 1.0, which has no escapes.
fn quoted(text: &str) -> String {
    if !text.contains('\'') {
        return format!("'{text}'");
    }
    let parts: Vec<_> = text.split('\'').map(|part| format!("'{part}'")).collect();
    format!("concat({})", parts.join(", \"'\", "))
}
