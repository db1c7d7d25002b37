//! The first gate: a question's text, counted before anything parses it.
//!
//! A flat chain of 2,000 additions overflows the planner's stack, which ends the process and cannot
//! be caught (hardening: measured on DataFusion 55.2), so what makes a plan deep or wide is counted
//! on the tokens: operators, nesting, unions, joins. Counting a little too much is fine: people's
//! queries are far below. The limits are fixed, as the planner's stack is; how long a text may be is
//! a key of the configuration and was checked by the server.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// The most tokens; an `IN` list of 5,000 values fits.
const TOKENS_MAX: usize = 12_000;
/// The most operators, the keywords among them included.
const OPERATORS_MAX: usize = 500;
/// The most `UNION`, `INTERSECT` and `EXCEPT`.
const UNIONS_MAX: usize = 64;
/// The most `JOIN`; the plan's gate counts those without the word too.
pub(super) const JOINS_MAX: usize = 16;
/// The deepest nesting of brackets and `CASE`.
const DEPTH_MAX: usize = 50;
/// The most `WITH` names and sub-selects: each may be used by the next, twice.
const SELECTS_MAX: usize = 96;

/// What makes a question expensive to plan.
#[derive(Debug, Default)]
struct Counts {
    n_tokens: usize,
    n_operators: usize,
    n_unions: usize,
    n_joins: usize,
    n_selects: usize,
    depth: usize,
    depth_max: usize,
}

/// Returns why the text is not even parsed, or nothing.
pub(crate) fn check(sql: &str) -> Result<(), String> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql)
        .tokenize()
        .map_err(|error| format!("cannot read the SQL: {error}"))?;
    let mut counts = Counts::default();
    for token in &tokens {
        counts.add(token);
    }
    counts.verdict()
}

impl Counts {
    fn add(&mut self, token: &Token) {
        self.n_tokens += usize::from(!matches!(token, Token::Whitespace(_)));
        match token {
            Token::Word(word) => self.add_keyword(word.keyword),
            Token::LParen | Token::LBrace => self.open(),
            Token::RParen | Token::RBrace | Token::RBracket => self.close(),
            // Each subscript wraps what stands before it: `a[1][1][1]` is as deep as `((a))`.
            Token::LBracket => {
                self.n_operators += 1;
                self.open();
            }
            token if is_flat(token) => {}
            _ => self.n_operators += 1,
        }
    }

    fn add_keyword(&mut self, keyword: Keyword) {
        match keyword {
            Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::MINUS => {
                self.n_unions += 1;
            }
            Keyword::JOIN | Keyword::APPLY => self.n_joins += 1,
            Keyword::SELECT => self.n_selects += 1,
            Keyword::CASE => self.open(),
            Keyword::END => self.close(),
            keyword if is_operator(keyword) => self.n_operators += 1,
            _ => {}
        }
    }

    fn open(&mut self) {
        self.depth += 1;
        self.depth_max = self.depth_max.max(self.depth);
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn verdict(&self) -> Result<(), String> {
        for (what, n, max) in [
            ("tokens", self.n_tokens, TOKENS_MAX),
            ("operators", self.n_operators, OPERATORS_MAX),
            ("UNION, INTERSECT and EXCEPT", self.n_unions, UNIONS_MAX),
            ("JOIN", self.n_joins, JOINS_MAX),
            ("SELECT", self.n_selects, SELECTS_MAX),
            ("levels of nesting", self.depth_max, DEPTH_MAX),
        ] {
            if n > max {
                return Err(over(what, n, max));
            }
        }
        Ok(())
    }
}

fn over(what: &str, n: usize, max: usize) -> String {
    format!("the query has {n} {what}, more than the {max} it may have: split it")
}

/// Words that take an operand on their left and so deepen the tree when chained.
fn is_operator(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::AND
            | Keyword::OR
            | Keyword::XOR
            | Keyword::NOT
            | Keyword::IS
            | Keyword::IN
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::RLIKE
            | Keyword::REGEXP
            | Keyword::SIMILAR
            | Keyword::BETWEEN
            | Keyword::AT
            | Keyword::COLLATE
            | Keyword::DIV
            | Keyword::OVERLAPS
            | Keyword::NOTNULL
            | Keyword::OPERATOR
            | Keyword::INTERVAL
    )
}

/// Tokens that lengthen a list but deepen nothing.
fn is_flat(token: &Token) -> bool {
    matches!(
        token,
        Token::EOF
            | Token::Number(..)
            | Token::Char(_)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::Placeholder(_)
            | Token::Comma
            | Token::Period
            | Token::SemiColon
            | Token::Whitespace(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(sql: &str, reason: &str) {
        let message = check(sql).expect_err("a limit is passed");
        assert!(message.contains(reason), "{message}");
    }

    fn repeated(head: &str, piece: &str, n: usize) -> String {
        format!("{head}{}", piece.repeat(n))
    }

    #[test]
    fn what_people_write_passes() {
        let in_list = format!("SELECT 1 WHERE 1 IN ({}1)", "1,".repeat(5_000));
        for sql in [
            "SELECT 1",
            "SELECT count(*) FROM logs WHERE attributes['a.b'] = $1 AND body LIKE '%x%'",
            &repeated("SELECT 1", "+1", 499),
            &in_list,
        ] {
            assert_eq!(check(sql), Ok(()), "{}", &sql[..20.min(sql.len())]);
        }
    }

    #[test]
    fn flat_chains_are_refused() {
        refused(&repeated("SELECT 1", "+1", 501), "501 operators, more than the 500");
        refused(&repeated("SELECT 1 WHERE true", " OR true", 600), "operators");
        refused(&repeated("SELECT 1", " IS NULL", 600), "operators");
        refused(&repeated("SELECT 1", "::int", 600), "operators");
        refused(&repeated("SELECT a", "[1]", 600), "operators");
        refused(&repeated("SELECT ", "- ", 600), "operators");
        refused(&repeated("SELECT ", "NOT ", 600), "operators");
        refused(&repeated("SELECT 1", " UNION ALL SELECT 1", 65), "65 UNION");
        refused(&repeated("SELECT 1 FROM logs", " CROSS JOIN logs", 17), "17 JOIN");
    }

    #[test]
    fn deep_nesting_is_refused() {
        refused(&repeated("SELECT ", "(", 51), "51 levels of nesting");
        refused(&repeated("SELECT ", "CASE WHEN ", 51), "51 levels");
        refused(&repeated("SELECT ", "[", 51), "51 levels");
    }

    #[test]
    fn long_texts_are_refused() {
        refused(&repeated("SELECT 1", ",1", 6_500), "tokens");
    }

    #[test]
    fn operators_inside_strings_and_comments_do_not_count() {
        let sql = format!("SELECT '{0}' /* {0} */ -- {0}", "+1 ".repeat(1_000));

        assert_eq!(check(&sql), Ok(()));
    }
}
