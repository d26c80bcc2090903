//! The catalogue's expressions: a small language of comparisons over named values.
//!
//! From its words to a tree is `parse`'s, whether a tree makes sense `check`'s, what it comes to `eval`'s.

use super::{path::Path, value::Value};

mod check;
mod eval;
mod parse;

pub(super) use self::eval::Lookup;

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    /// A literal.
    Value(Value),
    /// A name.
    Path(Path),
    /// `[a, b]`.
    List(Vec<Expr>),
    /// `not a`.
    Not(Box<Expr>),
    /// An operator between two.
    Binary(Operator, Box<Expr>, Box<Expr>),
    /// `count(a)`.
    Call(Function, Vec<Expr>),
}

/// What can stand between two expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    /// `or`.
    Or,
    /// `and`.
    And,
    /// `==`.
    Equal,
    /// `!=`.
    Unequal,
    /// `<`.
    Less,
    /// `<=`.
    AtMost,
    /// `>`.
    More,
    /// `>=`.
    AtLeast,
    /// `in`: an element of a list.
    In,
    /// `+`.
    Plus,
    /// `-`.
    Minus,
    /// `*`.
    Times,
    /// `/`.
    Over,
}

/// What can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    /// `count(list)`: how many.
    Count,
    /// `any(list, a, …)`: whether one of these is in it.
    Any,
    /// `only(list, a, …)`: whether nothing else is in it.
    Only,
    /// `starts_with(text, text)`.
    StartsWith,
    /// `ends_with(text, text)`.
    EndsWith,
    /// `contains(text, text)`.
    Contains,
    /// `min(a, …)`.
    Min,
    /// `max(a, …)`.
    Max,
}

impl Function {
    const ALL: [(&'static str, Self); 8] = [
        ("count", Self::Count),
        ("any", Self::Any),
        ("only", Self::Only),
        ("starts_with", Self::StartsWith),
        ("ends_with", Self::EndsWith),
        ("contains", Self::Contains),
        ("min", Self::Min),
        ("max", Self::Max),
    ];
}

impl Expr {
    /// Reads an expression and checks it.
    ///
    /// # Errors
    /// Where it does not read, or compares what cannot be compared.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let expr = parse::parse(text)?;
        check::kind(&expr)?;
        Ok(expr)
    }

    /// As [`Expr::parse`], for one whose answer is yes or no.
    ///
    /// # Errors
    /// As there, and where its answer is something else.
    pub(super) fn rule(text: &str) -> Result<Self, String> {
        let expr = parse::parse(text)?;
        check::rule(&expr)?;
        Ok(expr)
    }

    /// Every name in it, in the order in which they stand.
    pub(super) fn paths(&self) -> Vec<&Path> {
        let mut found = Vec::new();
        self.walk(&mut found);
        found
    }

    fn walk<'a>(&'a self, found: &mut Vec<&'a Path>) {
        match self {
            Self::Value(_) => {}
            Self::Path(path) => found.push(path),
            Self::List(all) | Self::Call(_, all) => all.iter().for_each(|expr| expr.walk(found)),
            Self::Not(expr) => expr.walk(found),
            Self::Binary(_, left, right) => {
                left.walk(found);
                right.walk(found);
            }
        }
    }
}
