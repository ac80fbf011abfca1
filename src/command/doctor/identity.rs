//! Users and their ranges of subordinate ids: passwd(5), subuid(5), subgid(5).

use std::path::PathBuf;
use std::process::Command;

/// Ids that a system in a user namespace needs: 0 to 65535.
pub const NEEDED_IDS: u64 = 65536;

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Home directory.
    pub home: PathBuf,
}

/// The account with this name or id, wherever it is kept (files, LDAP, …).
pub fn account(name_or_id: &str) -> Option<Account> {
    let output = Command::new("getent").args(["passwd", name_or_id]).output().ok()?;
    parse_account(std::str::from_utf8(&output.stdout).ok()?.lines().next()?)
}

fn parse_account(line: &str) -> Option<Account> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, _, _, home, _] = fields.as_slice() else { return None };
    Some(Account { name: (*name).to_owned(), uid: uid.parse().ok()?, home: PathBuf::from(home) })
}

/// One line of `/etc/subuid` or `/etc/subgid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// Name or id of the user.
    pub owner: String,
    /// First id.
    pub start: u64,
    /// How many.
    pub count: u64,
}

/// The ranges in a file; a file that is not there has none.
pub fn ranges(file: &str) -> Vec<Range> {
    std::fs::read_to_string(file).unwrap_or_default().lines().filter_map(parse_range).collect()
}

fn parse_range(line: &str) -> Option<Range> {
    let mut fields = line.trim().split(':');
    let (owner, start, count) = (fields.next()?, fields.next()?, fields.next()?);
    Some(Range { owner: owner.to_owned(), start: start.parse().ok()?, count: count.parse().ok()? })
}

/// The largest range of an account: one range must do, because ids are mapped from one.
pub fn largest(ranges: &[Range], account: &Account) -> u64 {
    let uid = account.uid.to_string();
    let own = ranges.iter().filter(|range| range.owner == account.name || range.owner == uid);
    own.map(|range| range.count).max().unwrap_or(0)
}

/// The first id above all ranges in these lists.
pub fn first_free(lists: &[Vec<Range>]) -> u64 {
    let ends = lists.iter().flatten().map(|range| range.start.saturating_add(range.count));
    // SUB_UID_MIN of login.defs(5).
    ends.max().unwrap_or(0).max(100_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let account = parse_account("usine-worker:x:1001:1001::/var/lib/usine-worker:/usr/sbin/nologin").unwrap();
        assert_eq!((account.name.as_str(), account.uid), ("usine-worker", 1001));
        let lines = ["other:100000:65536", "1001:165536:10", "usine-worker:300000:65536", "broken", ""];
        let ranges: Vec<Range> = lines.iter().filter_map(|line| parse_range(line)).collect();
        assert_eq!(largest(&ranges, &account), 65536);
        assert_eq!(largest(&ranges[..2], &account), 10);
        assert_eq!(first_free(&[ranges]), 365_536);
        assert_eq!(first_free(&[Vec::new()]), 100_000);
    }
}
