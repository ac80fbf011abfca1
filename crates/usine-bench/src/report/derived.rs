//! Numbers that compare two stages: how near the program comes to what the machine can do.

use crate::Measure;
use crate::measure::Sheet;

/// A number against its limit: stage, case and name of each, and the name of the comparison.
struct Pair {
    of: (&'static str, &'static str),
    limit: (&'static str, &'static str),
    name: &'static str,
}

const PAIRS: [Pair; 4] = [
    Pair {
        of: ("throughput", "work requests, end to end"),
        limit: ("bare-database", "whole lives, singly"),
        name: "against the bare database, singly",
    },
    Pair {
        of: ("throughput", "work requests, end to end"),
        limit: ("bare-database", "whole lives, 100 in each statement"),
        name: "against the bare database, 100 in each statement",
    },
    Pair {
        of: ("api", "GET of one work request"),
        limit: ("api", "GET of the same size, bare HTTP"),
        name: "GET against bare HTTP",
    },
    Pair {
        of: ("api", "POST of a work request"),
        limit: ("api", "POST of the same size, bare HTTP"),
        name: "POST against bare HTTP",
    },
];

/// Each number that has a limit in the same database, in percent of it. Within a stage the cases must be the same.
pub fn compared(measures: &[Measure]) -> Vec<Measure> {
    let mut found = Vec::new();
    for pair in PAIRS {
        for of in measures.iter().filter(|measure| (measure.stage, measure.what) == pair.of) {
            let limit = measures.iter().find(|limit| {
                (limit.stage, limit.what) == pair.limit
                    && limit.database == of.database
                    && (limit.stage != of.stage || limit.case == of.case)
            });
            if let Some(limit) = limit.filter(|limit| limit.value > 0.0) {
                let mut sheet = Sheet::new(of.stage, of.database, of.case.clone());
                sheet.note(pair.name, 100.0 * of.value / limit.value, "%");
                found.append(&mut sheet.measures);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_compared_with_its_own_limit() {
        let measure = |stage, database, case: &str, what, value| {
            let mut sheet = Sheet::new(stage, database, case);
            sheet.note(what, value, "/s");
            sheet.measures.remove(0)
        };
        let measures = [
            measure("api", "SQLite", "1 connection", "GET of one work request", 500.0),
            measure("api", "PostgreSQL", "1 connection", "GET of one work request", 300.0),
            measure("api", "SQLite", "16 connections", "GET of the same size, bare HTTP", 9000.0),
            measure("api", "SQLite", "1 connection", "GET of the same size, bare HTTP", 2000.0),
            measure("throughput", "SQLite", "100 workers", "work requests, end to end", 900.0),
            measure("bare-database", "SQLite", "", "whole lives, singly", 1800.0),
        ];
        let found: Vec<_> = compared(&measures).into_iter().map(|one| (one.what, one.case, one.value)).collect();
        assert_eq!(
            found,
            [
                ("against the bare database, singly", "100 workers".to_owned(), 50.0),
                ("GET against bare HTTP", "1 connection".to_owned(), 25.0),
            ]
        );
    }
}
