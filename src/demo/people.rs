//! Who asks: fictional users, passers-by and bots, with addresses from the documentation ranges.

use super::dice::Dice;

/// Whoever sends a request.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    /// Number of the user; `None` for those who have not logged in.
    pub(super) user: Option<u64>,
    pub(super) address: String,
    /// As nginx writes it: bytes that it escapes are escaped.
    pub(super) agent: &'static str,
    pub(super) session: u64,
}

/// How many people have an account somewhere.
const N_USERS: u64 = 400;

const BROWSERS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
    "python-requests/2.32.3",
];
const BOTS: [&str; 4] = [
    "ExampleBot/2.1 (+https://bot.example/info)",
    // A quote and a letter outside ASCII, as `log_format json` without `escape=json` leaves them.
    r"Crawler \x22deep\x22/1.0",
    r"Recherche-M\xC3\xA9ta/0.3",
    r"scan\x5Cner/4",
];

/// Returns a passer-by: one in seven is a bot, and three in ten of the others have logged in.
pub(super) fn visitor(dice: &mut Dice) -> Visitor {
    let is_bot = dice.chance(0.15);
    let agent = if is_bot { *dice.one_of(&BOTS) } else { *dice.one_of(&BROWSERS) };
    let is_known = !is_bot && dice.chance(0.3);
    Visitor {
        user: is_known.then(|| dice.below(N_USERS)),
        address: format!("203.0.113.{}", 1 + dice.below(254)),
        agent,
        session: dice.bits(),
    }
}

/// Returns one that reads everything there is, page by page.
pub(super) fn crawler(dice: &mut Dice) -> Visitor {
    Visitor { user: None, address: "198.51.100.7".to_owned(), agent: BOTS[0], session: dice.bits() }
}

impl Visitor {
    /// Returns the same visitor after a login.
    #[must_use]
    pub(super) fn logged_in(mut self, dice: &mut Dice) -> Self {
        if self.user.is_none() && dice.chance(0.8) {
            self.user = Some(dice.below(N_USERS));
        }
        self
    }

    /// Returns what the revproxy makes of the token's claims.
    pub(super) fn user_id(&self) -> String {
        match self.user {
            Some(user) => format!("uid:{user},{}", mail(user)),
            None => "uid:null,unknown@unknown".to_owned(),
        }
    }
}

/// Returns the mail address of a user who does not exist.
pub(super) fn mail(user: u64) -> String {
    format!("researcher{user:03}@people.example")
}
