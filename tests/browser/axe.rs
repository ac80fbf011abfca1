//! axe-core: rules that a program can check of what people need who see, hear or move in other ways (WCAG 2.2, levels A and AA).

use std::fmt::Write;
use std::path::Path;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::browser::Browser;

/// The program, as `packaging/setup-host tests` fetches it.
static PROGRAM: LazyLock<String> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/axe/node_modules/axe-core/axe.min.js");
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}: run packaging/setup-host tests", path.display()))
});

/// With the rules of WCAG 2.2 that are off by default, and those of good practice.
const RUN: &str = "const done = arguments[0];
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
    axe.run({runOnly: tags, resultTypes: ['violations']}).then(
        result => done({violations: result.violations, passes: result.passes.length}),
        error => done({violations: [], passes: 0, error: String(error)}));";

#[derive(Debug, Deserialize)]
struct Report {
    violations: Vec<Violation>,
    passes: usize,
    error: Option<String>,
}

/// A rule that the page breaks.
#[derive(Debug, Deserialize)]
pub struct Violation {
    /// Name of the rule.
    pub id: String,
    /// `minor`, `moderate`, `serious`, `critical`.
    pub impact: Option<String>,
    help: String,
    #[serde(rename = "helpUrl")]
    help_url: String,
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    html: String,
    #[serde(rename = "failureSummary")]
    summary: Option<String>,
}

impl Violation {
    /// Whether it keeps people from using the page.
    fn matters(&self) -> bool {
        // A rule without an impact is one that nobody has judged: not to be passed over.
        !matches!(self.impact.as_deref(), Some("minor" | "moderate"))
    }
}

impl Browser {
    /// The rules that the page breaks, now and as it looks.
    pub fn axe(&self) -> Vec<Violation> {
        if self.script("return typeof axe", vec![]) != "object" {
            self.script(&PROGRAM, vec![]);
        }
        let report: Report = serde_json::from_value(self.later(RUN, vec![])).unwrap();
        assert_eq!(report.error, None, "axe failed on {}", self.page());
        assert!(report.passes > 0, "axe looked at nothing on {}", self.page());
        report.violations
    }

    /// The page breaks no rule that keeps people from using it.
    pub fn is_accessible(&self) {
        let mut text = String::new();
        for violation in self.axe().iter().filter(|violation| violation.matters()) {
            let Violation { id, impact, help, help_url, nodes } = violation;
            let impact = impact.as_deref().unwrap_or("unjudged");
            writeln!(text, "{id} ({impact}): {help}: {help_url}").unwrap();
            for node in nodes {
                writeln!(text, "  {}\n    {}", node.html, node.summary.as_deref().unwrap_or_default()).unwrap();
            }
        }
        assert!(text.is_empty(), "{text}on {}", self.page());
    }
}
