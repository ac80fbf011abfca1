//! What lintian(1) prints: one line for each tag that it found, with comments before it and explanations after it.

use serde::Serialize;
use usine_model::artifact::LintianSeverity;

/// A tag that lintian found, as `analysis.json` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Tag {
    pub severity: LintianSeverity,
    /// Name of the source or binary package.
    pub package: String,
    pub tag: String,
    /// What the tag means; lintian says it once for each tag.
    pub explanation: String,
    /// Why it was overridden, in the packager's words.
    pub comment: String,
    /// What was found.
    pub note: String,
    /// Where it was found: a file, maybe with a line.
    pub pointer: String,
    /// Whether the package is a source package.
    #[serde(skip)]
    pub is_source: bool,
}

/// A line that lintian is not known to print.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("Failed to parse line: {0}")]
pub(super) struct UnknownLine(String);

/// A line that is not a note.
enum Line {
    Found(Tag),
    /// Tags that are no fault because of something that lintian knows.
    Masked,
    /// Lintian before 2.115 prints the tag alone before its explanation.
    Heading,
}

/// Reads the whole output.
pub(super) fn parse(output: &str) -> Result<Vec<Tag>, UnknownLine> {
    let mut tags: Vec<Tag> = Vec::new();
    let (mut explanation, mut comment) = (String::new(), String::new());
    // Whether the explanation that follows is of the last of `tags`.
    let mut explains_last = false;
    for line in output.lines() {
        if let Some(note) = line.strip_prefix("N:") {
            // An explanation is indented by three blanks or more, a comment by one.
            let is_comment = note.starts_with(' ') && note[1..].starts_with(|c: char| !c.is_whitespace());
            let text = if is_comment { &mut comment } else { &mut explanation };
            text.push_str(note.trim());
            text.push('\n');
            continue;
        }
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        explain(tags.last_mut().filter(|_| explains_last), &mut explanation);
        match parse_line(line).ok_or_else(|| UnknownLine(line.to_owned()))? {
            Line::Found(tag) => {
                tags.push(Tag { comment: comment.trim().to_owned(), ..tag });
                explains_last = true;
            }
            Line::Masked => explains_last = false,
            Line::Heading => continue,
        }
        comment.clear();
    }
    explain(tags.last_mut().filter(|_| explains_last), &mut explanation);
    Ok(tags)
}

/// Gives `explanation` to the tag before it, if there is something in it, and empties it.
fn explain(tag: Option<&mut Tag>, explanation: &mut String) {
    let text = explanation.trim();
    if let (Some(tag), false) = (tag, text.is_empty()) {
        text.clone_into(&mut tag.explanation);
    }
    explanation.clear();
}

/// `X: PACKAGE[ TYPE]: TAG[ NOTE][ [POINTER]]`; binary packages have no type.
fn parse_line(line: &str) -> Option<Line> {
    let (code, rest) = line.split_once(": ")?;
    let severity = match code {
        "E" => Some(LintianSeverity::Error),
        "W" => Some(LintianSeverity::Warning),
        "I" => Some(LintianSeverity::Info),
        "P" => Some(LintianSeverity::Pedantic),
        "X" => Some(LintianSeverity::Experimental),
        "O" => Some(LintianSeverity::Overridden),
        "C" => Some(LintianSeverity::Classification),
        "M" => None,
        _ => return None,
    };
    let Some((subject, rest)) = rest.split_once(": ") else {
        return (!rest.contains(char::is_whitespace)).then_some(Line::Heading);
    };
    let (package, is_source) = match subject.split_once(' ') {
        None => (subject, false),
        Some((package, "source")) => (package, true),
        Some((package, "udeb")) => (package, false),
        Some(_) => return None,
    };
    let Some(severity) = severity else { return Some(Line::Masked) };
    let (tag, context) = rest.split_once(' ').unwrap_or((rest, ""));
    let note = context.split_once('[').map_or(context, |(note, _)| note).trim();
    let pointer = context.rsplit_once(']').and_then(|(before, _)| before.rsplit_once('['));
    Some(Line::Found(Tag {
        severity,
        package: package.to_owned(),
        tag: tag.to_owned(),
        explanation: String::new(),
        comment: String::new(),
        note: note.to_owned(),
        pointer: pointer.map_or("", |(_, pointer)| pointer).to_owned(),
        is_source,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../../tests/samples/lintian-nasty.txt");

    fn named<'a>(tags: &'a [Tag], package: &str, name: &str) -> &'a Tag {
        let found = tags.iter().find(|tag| tag.package == package && tag.tag == name);
        found.unwrap_or_else(|| panic!("{package} has no {name}"))
    }

    #[test]
    fn a_whole_output() {
        let tags = parse(SAMPLE).unwrap();
        let lines: Vec<_> = SAMPLE.lines().filter(|line| !line.starts_with("N:")).collect();
        assert_eq!(tags.len(), lines.len() - 1, "all but the masked one");
        for (code, severity) in [
            ('E', LintianSeverity::Error),
            ('W', LintianSeverity::Warning),
            ('I', LintianSeverity::Info),
            ('P', LintianSeverity::Pedantic),
            ('X', LintianSeverity::Experimental),
            ('O', LintianSeverity::Overridden),
            ('C', LintianSeverity::Classification),
        ] {
            let expected = lines.iter().filter(|line| line.starts_with(code)).count();
            assert!(expected > 0, "{code}");
            assert_eq!(tags.iter().filter(|tag| tag.severity == severity).count(), expected, "{code}");
        }
        let tag = named(&tags, "nasty", "dir-in-usr-local");
        assert_eq!((tag.note.as_str(), tag.pointer.as_str(), tag.is_source), ("", "usr/local/x/", false));
        assert!(
            tag.explanation.starts_with("The package installs a directory in /usr/local/..."),
            "{}",
            tag.explanation
        );
        assert!(tag.explanation.contains("\n\nVisibility: error\nShow-Always: no\nCheck: "), "{}", tag.explanation);
        assert_eq!(named(&tags, "nasty-doc", "dir-in-usr-local").explanation, "");
        let tag = named(&tags, "nasty", "binaries-have-file-conflict");
        assert_eq!((tag.note.as_str(), tag.is_source), ("nasty nasty-doc usr/local/x/y", true));
        let tag = named(&tags, "nasty", "trimmed-deb822-field");
        assert_eq!(tag.note, "§1 Maintainer Tiny <tiny@example.org>");
        assert_eq!(tag.pointer, "debian/control:4");
        assert!(!named(&tags, "nasty-udeb", "empty-udeb-package").is_source);
    }

    #[test]
    fn comments_of_overrides() {
        let tags = parse(SAMPLE).unwrap();
        let overridden: Vec<_> = tags.iter().filter(|tag| tag.severity == LintianSeverity::Overridden).collect();
        assert_eq!(overridden[0].comment, "It is a test.");
        // It was explained where it was not overridden.
        assert_eq!(overridden[0].explanation, "");
        assert_eq!(
            overridden[1].comment,
            "Nobody reads a copyright file of so small a package, not even those who\nshould."
        );
        assert!(overridden[1].explanation.starts_with("Every package must include"));
        let before = named(&tags, "nasty-udeb", "trimmed-field");
        assert_eq!((before.comment.as_str(), before.explanation.as_str()), ("", ""));
        assert!(tags.iter().all(|tag| !tag.explanation.contains("test.") && !tag.comment.contains("masked")));
    }

    #[test]
    fn masked_tags_go_with_their_explanations() {
        let tags =
            parse("N:\nE: a: one\nN:\nN: masked by screen x\nM: a: two\nN: \nN:   Of two.\nN: \nN:\nW: a: three\n");
        let tags = tags.unwrap();
        assert_eq!(tags.iter().map(|tag| tag.tag.as_str()).collect::<Vec<_>>(), ["one", "three"]);
        assert!(tags.iter().all(|tag| tag.explanation.is_empty() && tag.comment.is_empty()));
    }

    #[test]
    fn headings_of_older_releases() {
        let text = "E: a source: one 1\nN:\nE: one\nN:\nN:   Of one.\nN:\nW: a: two\nN:\nW: two\nN:\nN:   Of two.\n";
        let tags = parse(text).unwrap();
        assert_eq!(tags.len(), 2);
        assert_eq!((tags[0].explanation.as_str(), tags[0].is_source), ("Of one.", true));
        assert_eq!(tags[1].explanation, "Of two.");
    }

    #[test]
    fn notes_and_pointers() {
        for (context, note, pointer) in [
            ("", "", ""),
            (" text: with colon", "text: with colon", ""),
            (" [debian/rules]", "", "debian/rules"),
            (" a [x] b [debian/rules:3]", "a", "debian/rules:3"),
            (" half [open", "half", ""),
            (" closed] only", "closed] only", ""),
        ] {
            let tags = parse(&format!("I: a: tag{context}\n")).unwrap();
            assert_eq!((tags[0].note.as_str(), tags[0].pointer.as_str()), (note, pointer), "{context}");
        }
    }

    #[test]
    fn other_lines_are_not_guessed_at() {
        for line in ["warning: something", "Z: a: tag", "E: two words", "E: a changes: tag", "E:"] {
            let fault = parse(&format!("\nW: a: tag\n{line}\n")).unwrap_err();
            assert_eq!(fault.to_string(), format!("Failed to parse line: {line}"));
        }
        assert_eq!(parse(""), Ok(Vec::new()));
    }
}
