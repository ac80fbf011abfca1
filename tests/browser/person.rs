//! People, made with the administrator's commands.

use crate::house::House;

/// What somebody of this name has as a password.
pub fn password_of(username: &str) -> String {
    format!("the long password of {username}")
}

/// Gives a user of the house a password.
pub fn with_password(house: &House, username: &str) {
    house.try_admin(&["user", "change-password", username], &password_of(username)).success();
}

/// Makes another user, who is in no group.
pub fn newcomer(house: &House, username: &str) {
    house.admin(&["user", "create", username, &format!("{username}@example.org")]);
    with_password(house, username);
}
