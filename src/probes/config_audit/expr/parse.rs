//! From text to a tree, by precedence: or, and, not, comparisons, + -, * /.
//!
//! Whether the tree makes sense is not asked here.

use super::{
    super::{path::Path, value::Value},
    Expr, Function, Operator,
};
use crate::config::settings::Size;

/// Nesting beyond which nobody reads it; also what keeps hostile text from using up the stack.
const DEEPEST: usize = 50;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(f64),
    Text(String),
    /// A keyword, a function or a path.
    Word(String),
    Sign(&'static str),
}

const SIGNS: [&str; 15] = ["==", "!=", "<=", ">=", "<", ">", "(", ")", "[", "]", ",", "+", "-", "*", "/"];

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Expr, String> {
    let mut parser = Parser { tokens: tokens(text)?.into_iter().peekable(), depth: 0 };
    let expr = parser.expression(0)?;
    match parser.tokens.next() {
        None => Ok(expr),
        Some(token) => Err(format!("{} where the expression could have ended", shown(Some(&token)))),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = if first == '\'' {
            let end = rest[1..].find('\'').ok_or("a text that begins with ' does not end")?;
            (Token::Text(rest[1..=end].to_owned()), end + 2)
        } else if first.is_ascii_digit() {
            let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
            (Token::Number(number(&rest[..length])?), length)
        } else if first.is_ascii_alphabetic() {
            let word = word(rest);
            (Token::Word(word.to_owned()), word.len())
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.ok_or_else(|| format!("{first:?} means nothing here"))?;
            (Token::Sign(sign), sign.len())
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

/// Letters, digits, `_`, `.` and `|`; a dash or another sign only between two of them.
fn word(text: &str) -> &str {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '|');
    let mut end = 0;
    loop {
        end += text[end..].find(|c: char| !plain(c)).unwrap_or(text.len() - end);
        let dashed = text[end..].strip_prefix('-').and_then(|rest| rest.chars().next()).is_some_and(plain);
        if !dashed {
            return &text[..end];
        }
        end += 1;
    }
}

/// `10`, `0.85`, `64mb`; a leading 0 makes a file mode: `0640`.
fn number(text: &str) -> Result<f64, String> {
    let is_mode = text.len() > 2 && text.starts_with('0') && text.chars().all(|c| c.is_digit(8));
    if is_mode {
        return u32::from_str_radix(text, 8).map(f64::from).map_err(|error| error.to_string());
    }
    let plain = text.parse::<f64>().ok().filter(|_| text.chars().all(|c| c.is_ascii_digit() || c == '.'));
    plain
        .or_else(|| Size::parse(text).map(|size| size.0 as f64))
        .ok_or_else(|| format!("{text:?} is no number; units are b, k, kb, m, mb, g and gb"))
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    depth: usize,
}

impl Parser {
    /// Everything that binds more tightly than `floor`.
    fn expression(&mut self, floor: u8) -> Result<Expr, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("nested more than {DEEPEST} deep"));
        }
        let mut left = self.first()?;
        while let Some((operator, binding)) = self.tokens.peek().and_then(operator)
            && binding > floor
        {
            self.tokens.next();
            let right = self.expression(binding)?;
            left = Expr::Binary(operator, Box::new(left), Box::new(right));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn first(&mut self) -> Result<Expr, String> {
        match self.tokens.next() {
            Some(Token::Number(number)) => Ok(Expr::Value(Value::Number(number))),
            Some(Token::Text(text)) => Ok(Expr::Value(Value::Text(text))),
            Some(Token::Sign("(")) => {
                let inner = self.expression(0)?;
                self.expect(")")?;
                Ok(inner)
            }
            Some(Token::Sign("[")) => Ok(Expr::List(self.several("]")?)),
            Some(Token::Sign("-")) => match self.tokens.next() {
                Some(Token::Number(number)) => Ok(Expr::Value(Value::Number(-number))),
                other => Err(format!("{} after -, where a number was expected", shown(other.as_ref()))),
            },
            Some(Token::Word(word)) => self.word(&word),
            other => Err(format!("{} where a value was expected", shown(other.as_ref()))),
        }
    }

    fn word(&mut self, word: &str) -> Result<Expr, String> {
        match word {
            "yes" => return Ok(Expr::Value(Value::Flag(true))),
            "no" => return Ok(Expr::Value(Value::Flag(false))),
            "not" => return Ok(Expr::Not(Box::new(self.expression(NOT)?))),
            "and" | "or" | "in" => return Err(format!("{word} where a value was expected")),
            _ => {}
        }
        if self.tokens.next_if(|token| *token == Token::Sign("(")).is_none() {
            return Path::parse(word).map(Expr::Path);
        }
        let function = Function::ALL.iter().find(|(name, _)| *name == word).map(|(_, function)| *function);
        let function = function.ok_or_else(|| {
            let names: Vec<_> = Function::ALL.iter().map(|(name, _)| *name).collect();
            format!("{word}() is no function; there are {}", names.join(", "))
        })?;
        Ok(Expr::Call(function, self.several(")")?))
    }

    /// Expressions between commas, up to the closing sign.
    fn several(&mut self, end: &'static str) -> Result<Vec<Expr>, String> {
        let mut all = Vec::new();
        if self.tokens.next_if(|token| *token == Token::Sign(end)).is_some() {
            return Ok(all);
        }
        loop {
            all.push(self.expression(0)?);
            if self.tokens.next_if(|token| *token == Token::Sign(",")).is_none() {
                self.expect(end)?;
                return Ok(all);
            }
        }
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), String> {
        match self.tokens.next() {
            Some(Token::Sign(found)) if found == sign => Ok(()),
            other => Err(format!("{} where {sign} was expected", shown(other.as_ref()))),
        }
    }
}

/// How tightly `not` binds: less than a comparison, more than `and`.
const NOT: u8 = 3;

fn operator(token: &Token) -> Option<(Operator, u8)> {
    Some(match token {
        Token::Word(word) if word == "or" => (Operator::Or, 1),
        Token::Word(word) if word == "and" => (Operator::And, 2),
        Token::Word(word) if word == "in" => (Operator::In, 4),
        Token::Sign("==") => (Operator::Equal, 4),
        Token::Sign("!=") => (Operator::Unequal, 4),
        Token::Sign("<") => (Operator::Less, 4),
        Token::Sign("<=") => (Operator::AtMost, 4),
        Token::Sign(">") => (Operator::More, 4),
        Token::Sign(">=") => (Operator::AtLeast, 4),
        Token::Sign("+") => (Operator::Plus, 5),
        Token::Sign("-") => (Operator::Minus, 5),
        Token::Sign("*") => (Operator::Times, 6),
        Token::Sign("/") => (Operator::Over, 6),
        _ => return None,
    })
}

fn shown(token: Option<&Token>) -> String {
    match token {
        None => "the end".to_owned(),
        Some(Token::Number(number)) => number.to_string(),
        Some(Token::Text(text)) => format!("'{text}'"),
        Some(Token::Word(word)) => word.clone(),
        Some(Token::Sign(sign)) => (*sign).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// With every pair of brackets that precedence implies.
    fn bracketed(expr: &Expr) -> String {
        match expr {
            Expr::Value(Value::Text(text)) => format!("'{text}'"),
            Expr::Value(Value::Number(number)) => number.to_string(),
            Expr::Value(value) => value.to_string(),
            Expr::Path(path) => path.to_string(),
            Expr::List(all) => format!("[{}]", all.iter().map(bracketed).collect::<Vec<_>>().join(",")),
            Expr::Not(inner) => format!("(not {})", bracketed(inner)),
            Expr::Binary(operator, left, right) => {
                format!("({} {operator:?} {})", bracketed(left), bracketed(right))
            }
            Expr::Call(function, all) => {
                format!("{function:?}({})", all.iter().map(bracketed).collect::<Vec<_>>().join(","))
            }
        }
    }

    #[test]
    fn precedence_is_as_expected() {
        for (text, expected) in [
            ("1 + 2 * 3 - 4", "((1 Plus (2 Times 3)) Minus 4)"),
            ("not 1 == 2 and yes or no", "(((not (1 Equal 2)) And yes) Or no)"),
            ("config.maxmemory-policy in ['a', 'b']", "(config.maxmemory-policy In ['a','b'])"),
            ("64mb < 2g", "(67108864 Less 2000000000)"),
            ("config.slowlog-log-slower-than != -1", "(config.slowlog-log-slower-than Unequal -1)"),
            ("count(config.save) > 0", "(Count(config.save) More 0)"),
            ("0640 == 0.5", "(416 Equal 0.5)"),
            ("config.timeout - 1", "(config.timeout Minus 1)"),
            ("(1 or 2) and 3", "((1 Or 2) And 3)"),
        ] {
            assert_eq!(parse(text).map(|expr| bracketed(&expr)), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("", "the end where a value was expected"),
            ("1 1", "1 where the expression could have ended"),
            ("'a", "does not end"),
            ("(1", "the end where ) was expected"),
            ("nonsense(1)", "is no function"),
            ("1 @ 2", "'@' means nothing here"),
            ("12xyz", "is no number"),
            ("and 1", "and where a value was expected"),
            ("config.maxmemry > 0", "not in the table"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
        assert!(parse(&"(".repeat(100_000)).is_err(), "and the stack holds");
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn words_of_the_language_never_panic(words in prop::collection::vec(
            prop::sample::select(vec!["config.save", "info.x", "1", "'a'", "(", ")", "[", "]", ",", "and", "or", "not",
                "in", "==", "<", "-", "count(", "min(", "yes", "64mb"]), 0..30,
        )) {
            let _ = parse(&words.join(" "));
        }
    }
}
