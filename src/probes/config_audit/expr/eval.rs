//! What an expression comes to: Kleene's three values, the third of which has a reason.
//!
//! `and` with a no is no, `or` with a yes is yes, whatever the other side; everything else needs all that it names.

use super::{
    super::{
        path::Path,
        value::{Missing, Value},
    },
    Expr, Function, Operator,
};

/// Where names are looked up.
pub(in super::super) trait Lookup {
    /// The value of a name.
    ///
    /// # Errors
    /// Why there is none.
    fn look_up(&self, path: &Path) -> Result<Value, Missing>;
}

impl Expr {
    /// What it comes to.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub(in super::super) fn eval(&self, facts: &dyn Lookup) -> Result<Value, Missing> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::Path(path) => facts.look_up(path),
            Self::List(all) => {
                all.iter().map(|expr| expr.eval(facts)).collect::<Result<_, _>>().map(Value::List)
            }
            Self::Not(inner) => inner.holds(facts).map(|flag| Value::Flag(!flag)),
            Self::Binary(Operator::And, left, right) => connect(false, left, right, facts),
            Self::Binary(Operator::Or, left, right) => connect(true, left, right, facts),
            Self::Binary(operator, left, right) => binary(*operator, left.eval(facts), right.eval(facts)),
            Self::Call(function, arguments) => {
                let values = arguments.iter().map(|expr| expr.eval(facts)).collect::<Result<Vec<_>, _>>()?;
                call(*function, &values)
            }
        }
    }

    /// Whether it comes to yes.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub(in super::super) fn holds(&self, facts: &dyn Lookup) -> Result<bool, Missing> {
        match self.eval(facts)? {
            Value::Flag(flag) => Ok(flag),
            Value::Text(text) if text == "yes" => Ok(true),
            Value::Text(text) if text == "no" => Ok(false),
            // INFO says 1 and 0.
            Value::Number(1.0) => Ok(true),
            Value::Number(0.0) => Ok(false),
            other => Err(Missing::unclear(format!("{other} is neither yes nor no"))),
        }
    }
}

/// `decisive` on either side decides; otherwise both sides are needed.
fn connect(decisive: bool, left: &Expr, right: &Expr, facts: &dyn Lookup) -> Result<Value, Missing> {
    match (left.holds(facts), right.holds(facts)) {
        (Ok(side), _) | (_, Ok(side)) if side == decisive => Ok(Value::Flag(decisive)),
        (_, Ok(side)) if side == decisive => Ok(Value::Flag(decisive)),
        (Ok(_), Ok(_)) => Ok(Value::Flag(!decisive)),
        (Err(left), Err(right)) => Err(left.or(right)),
        (Err(missing), Ok(_)) | (Ok(_), Err(missing)) => Err(missing),
    }
}

fn binary(
    operator: Operator,
    left: Result<Value, Missing>,
    right: Result<Value, Missing>,
) -> Result<Value, Missing> {
    let (left, right) = match (left, right) {
        (Ok(left), Ok(right)) => (left, right),
        (Err(left), Err(right)) => return Err(left.or(right)),
        (Err(missing), _) | (_, Err(missing)) => return Err(missing),
    };
    let ordered = |fits: fn(std::cmp::Ordering) -> bool| {
        let order = left.order(&right);
        order.map(fits).ok_or_else(|| Missing::unclear(format!("{left} cannot be compared with {right}")))
    };
    let flag = match operator {
        Operator::Equal => left.same(&right),
        Operator::Unequal => !left.same(&right),
        Operator::Less => ordered(std::cmp::Ordering::is_lt)?,
        Operator::AtMost => ordered(std::cmp::Ordering::is_le)?,
        Operator::More => ordered(std::cmp::Ordering::is_gt)?,
        Operator::AtLeast => ordered(std::cmp::Ordering::is_ge)?,
        Operator::In => list(&right)?.iter().any(|element| element.same(&left)),
        Operator::Plus => return math(number(&left)? + number(&right)?),
        Operator::Minus => return math(number(&left)? - number(&right)?),
        Operator::Times => return math(number(&left)? * number(&right)?),
        Operator::Over => return math(number(&left)? / number(&right)?),
        Operator::And | Operator::Or => {
            return Err(Missing::unclear("and, or are decided where both sides are seen"));
        }
    };
    Ok(Value::Flag(flag))
}

fn call(function: Function, values: &[Value]) -> Result<Value, Missing> {
    let [first, rest @ ..] = values else { return Err(Missing::unclear("a function of nothing")) };
    let among = |element: &Value| rest.iter().any(|value| value.same(element));
    let second = || rest.first().ok_or_else(|| Missing::unclear("a function of too little"));
    let numbers = || values.iter().map(number).collect::<Result<Vec<_>, _>>();
    Ok(match function {
        Function::Count => Value::Number(list(first)?.len() as f64),
        Function::Any => Value::Flag(list(first)?.iter().any(among)),
        Function::Only => Value::Flag(list(first)?.iter().all(among)),
        Function::StartsWith => Value::Flag(text(first)?.starts_with(text(second()?)?)),
        Function::EndsWith => Value::Flag(text(first)?.ends_with(text(second()?)?)),
        Function::Contains => Value::Flag(text(first)?.contains(text(second()?)?)),
        Function::Min => Value::Number(numbers()?.into_iter().fold(f64::INFINITY, f64::min)),
        Function::Max => Value::Number(numbers()?.into_iter().fold(f64::NEG_INFINITY, f64::max)),
    })
}

fn math(number: f64) -> Result<Value, Missing> {
    if number.is_finite() { Ok(Value::Number(number)) } else { Err(Missing::unclear("a division by 0")) }
}

fn number(value: &Value) -> Result<f64, Missing> {
    match value {
        Value::Number(number) => Ok(*number),
        other => Err(Missing::unclear(format!("{other} is no number"))),
    }
}

fn list(value: &Value) -> Result<&[Value], Missing> {
    match value {
        Value::List(values) => Ok(values),
        other => Err(Missing::unclear(format!("{other} is no list"))),
    }
}

fn text(value: &Value) -> Result<&str, Missing> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(Missing::unclear(format!("{other} is no text"))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    struct Table(BTreeMap<&'static str, Value>);

    impl Lookup for Table {
        fn look_up(&self, path: &Path) -> Result<Value, Missing> {
            match &*path.text {
                "info.denied" => Err(Missing::unclear("denied")),
                "info.absent" => Err(Missing::version("absent")),
                name => Ok(self.0[name].clone()),
            }
        }
    }

    fn table() -> Table {
        let text = |text: &str| Value::text(text);
        Table(BTreeMap::from([
            ("info.one", Value::Number(1.0)),
            ("info.zero", Value::Number(0.0)),
            ("info.status", text("ok")),
            ("server.version", Value::version("7.0.15").unwrap()),
            ("config.bind", Value::List(vec![text("127.0.0.1"), text("*")])),
            ("config.appendfsync", text("no")),
            ("config.save", Value::List(vec![])),
        ]))
    }

    fn holds(text: &str) -> Result<bool, Missing> {
        Expr::parse(text).unwrap().holds(&table())
    }

    #[test]
    fn comes_to_what_it_says() {
        for text in [
            "info.one > info.zero and info.status == 'ok'",
            "server.version >= '7.0.9' and server.version < '7.2'",
            "any(config.bind, '0.0.0.0', '*') and not only(config.bind, '127.0.0.1')",
            "config.appendfsync == no and config.appendfsync == 'no'",
            "config.save == [] and count(config.save) == 0",
            "'*' in config.bind",
            "max(1, 2, 3) - min(1, 2) == 2 and 3 * 4 / 2 == 6",
            "starts_with(info.status, 'o') and ends_with(info.status, 'k') and contains(info.status, 'ok')",
            "info.one",
            "not info.zero",
        ] {
            assert_eq!(holds(text), Ok(true), "{text}");
        }
    }

    #[test]
    fn what_is_missing_decides_only_what_it_must() {
        let (denied, absent) = (Err(Missing::unclear("denied")), Err(Missing::version("absent")));
        for (text, expected) in [
            ("no and info.denied == 1", Ok(false)),
            ("info.denied == 1 and no", Ok(false)),
            ("yes or info.denied == 1", Ok(true)),
            ("info.denied == 1 or yes", Ok(true)),
            ("yes and info.denied == 1", denied.clone()),
            ("no or info.denied == 1", denied.clone()),
            ("not info.denied == 1", denied.clone()),
            ("info.absent == 1 or info.denied == 1", denied.clone()),
            ("info.denied == info.absent", denied),
            ("info.absent + 1 > 0", absent),
        ] {
            assert_eq!(holds(text), expected, "{text}");
        }
    }

    #[test]
    fn nonsense_from_the_server_is_unclear() {
        for text in ["info.status > 1", "info.one / info.zero > 1", "info.status and yes", "info.status"] {
            assert!(matches!(holds(text), Err(Missing::Unknown(..))), "{text}");
        }
    }

    proptest! {
        /// De Morgan holds in Kleene's logic too.
        #[test]
        fn and_is_or_turned_round(
            a in prop::sample::select(vec!["yes", "no", "info.denied == 1"]),
            b in prop::sample::select(vec!["yes", "no", "info.denied == 1"]),
        ) {
            prop_assert_eq!(holds(&format!("not (({a}) and ({b}))")), holds(&format!("not ({a}) or not ({b})")));
            prop_assert_eq!(holds(&format!("({a}) and ({b})")), holds(&format!("({b}) and ({a})")));
        }
    }
}
