//! Whether an expression makes sense: what is added is a number, what is joined by `and` is yes or no.
//!
//! Values that only the server knows the type of pass; `eval` finds out.

use super::{
    super::value::{Type, Value},
    Expr, Function, Operator,
};

/// The type of an expression's value.
pub(super) fn kind(expr: &Expr) -> Result<Type, String> {
    match expr {
        Expr::Value(Value::Number(_)) => Ok(Type::Number),
        Expr::Value(Value::Flag(_)) => Ok(Type::Flag),
        Expr::Value(Value::Text(_)) => Ok(Type::Text),
        Expr::Value(Value::List(_)) => Ok(Type::List),
        Expr::Value(Value::Version(_)) => Ok(Type::Version),
        Expr::Path(path) => Ok(path.kind()),
        Expr::List(all) => {
            all.iter().try_for_each(|element| kind(element).map(drop))?;
            Ok(Type::List)
        }
        Expr::Not(inner) => rule(inner).map(|()| Type::Flag),
        Expr::Binary(operator, left, right) => binary(*operator, left, right),
        Expr::Call(function, arguments) => call(*function, arguments),
    }
}

/// Checks that the answer is yes or no.
pub(super) fn rule(expr: &Expr) -> Result<(), String> {
    want(expr, Type::Flag, "is neither yes nor no")
}

fn binary(operator: Operator, left: &Expr, right: &Expr) -> Result<Type, String> {
    use Operator::{And, AtLeast, AtMost, Equal, In, Less, Minus, More, Or, Over, Plus, Times, Unequal};
    match operator {
        And | Or => {
            rule(left)?;
            rule(right)?;
            Ok(Type::Flag)
        }
        Plus | Minus | Times | Over => {
            want(left, Type::Number, "is no number")?;
            want(right, Type::Number, "is no number")?;
            Ok(Type::Number)
        }
        In => {
            kind(left)?;
            want(right, Type::List, "is no list, and stands after `in`")?;
            Ok(Type::Flag)
        }
        Equal | Unequal => comparable(left, right, |a, b| {
            a == b
                || matches!(
                    (a, b),
                    (Type::Text, Type::Flag | Type::Version) | (Type::Flag | Type::Version, Type::Text)
                )
        }),
        Less | AtMost | More | AtLeast => comparable(left, right, |a, b| {
            matches!(
                (a, b),
                (Type::Number, Type::Number)
                    | (Type::Version, Type::Version | Type::Text)
                    | (Type::Text, Type::Version)
            )
        }),
    }
}

fn comparable(left: &Expr, right: &Expr, fit: fn(Type, Type) -> bool) -> Result<Type, String> {
    let (a, b) = (kind(left)?, kind(right)?);
    if a == Type::Any || b == Type::Any || fit(a, b) {
        Ok(Type::Flag)
    } else {
        Err(format!("compares {a:?} with {b:?}"))
    }
}

fn call(function: Function, arguments: &[Expr]) -> Result<Type, String> {
    let at_least = |count: usize| {
        if arguments.len() < count {
            return Err(format!("{function:?} takes {count} or more, and has {}", arguments.len()));
        }
        Ok(())
    };
    match function {
        Function::Count => {
            let [list] = arguments else { return Err("count takes one list".into()) };
            want(list, Type::List, "is no list")?;
            Ok(Type::Number)
        }
        Function::Any | Function::Only => {
            at_least(2)?;
            want(&arguments[0], Type::List, "is no list")?;
            arguments[1..].iter().try_for_each(|argument| kind(argument).map(drop))?;
            Ok(Type::Flag)
        }
        Function::StartsWith | Function::EndsWith | Function::Contains => {
            let [text, part] = arguments else { return Err(format!("{function:?} takes two texts")) };
            want(text, Type::Text, "is no text")?;
            want(part, Type::Text, "is no text")?;
            Ok(Type::Flag)
        }
        Function::Min | Function::Max => {
            at_least(2)?;
            arguments.iter().try_for_each(|argument| want(argument, Type::Number, "is no number"))?;
            Ok(Type::Number)
        }
    }
}

fn want(expr: &Expr, wanted: Type, otherwise: &str) -> Result<(), String> {
    let found = kind(expr)?;
    if found == wanted || found == Type::Any { Ok(()) } else { Err(format!("{found:?} {otherwise}")) }
}

#[cfg(test)]
mod tests {
    use super::super::Expr;

    #[test]
    fn sense_passes_and_nonsense_does_not() {
        for text in [
            "config.maxmemory > 0 and not config.appendonly == no",
            "config.appendfsync != no",
            "server.version >= '7.2.11'",
            "info.used_memory / config.maxmemory < 0.9",
            "count(config.save) == 0 or config.save == []",
            "any(config.bind, '*', '0.0.0.0')",
            "info.rdb_last_bgsave_status == 'ok'",
            "starts_with(info.mem_allocator, 'jemalloc')",
            "config.appendonly",
        ] {
            assert_eq!(Expr::rule(text).map(drop), Ok(()), "{text}");
        }
        for text in [
            "config.maxmemory",
            "config.maxmemory > '2gb'",
            "config.maxmemory-policy == 1",
            "config.save > 0",
            "config.maxmemory and yes",
            "count(config.maxmemory) > 1",
            "config.maxmemory in 'a'",
            "1 + 'a' > 1",
            "min(1) > 0",
            "not config.timeout",
        ] {
            assert!(Expr::rule(text).is_err(), "{text}");
        }
    }
}
