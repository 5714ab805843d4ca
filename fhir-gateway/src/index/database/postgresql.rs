//! Statements on PostgreSQL.

use std::error::Error;

use actix_web::web::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::{Answer, Fault, Row, Value};
use crate::postgres::{Session, failed};

/// What the server keeps in place of a character that its texts cannot hold.
const INSTEAD_OF_NUL: &str = "\u{FFFD}";

/// The server says which type it expects of each parameter.
impl ToSql for Value {
    fn to_sql(&self, expected: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self, expected) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Integer(value), &Type::INT4) => i32::try_from(*value)?.to_sql(expected, out),
            (Self::Integer(value), &Type::BOOL) => (*value != 0).to_sql(expected, out),
            #[expect(clippy::cast_precision_loss, reason = "a number beside decimals is one itself")]
            (Self::Integer(value), &Type::FLOAT8) => (*value as f64).to_sql(expected, out),
            (Self::Integer(value), &Type::TEXT | &Type::VARCHAR) => value.to_string().to_sql(expected, out),
            (Self::Integer(value), _) => value.to_sql(&Type::INT8, out),
            (Self::Real(value), _) => value.to_sql(&Type::FLOAT8, out),
            (Self::Text(value), _) if value.contains('\0') => value.replace('\0', INSTEAD_OF_NUL).to_sql(expected, out),
            (Self::Text(value), _) => value.to_sql(expected, out),
        }
    }

    fn accepts(expected: &Type) -> bool {
        [Type::INT4, Type::INT8, Type::FLOAT8, Type::BOOL, Type::TEXT, Type::VARCHAR].contains(expected)
    }

    to_sql_checked!();
}

pub fn query(session: &Session, sql: &str, values: Vec<Value>) -> Answer<Vec<Row>> {
    let sql = sql.to_owned();
    let rows = session.run(|connected| async move {
        let statement = connected.statement(&sql).await?;
        let parameters: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        connected.client().query(&statement, &parameters).await
    });
    rows.map_err(Fault::Postgres)?.iter().map(read).collect()
}

pub fn batch(session: &Session, sql: &str) -> Answer<()> {
    let sql = sql.to_owned();
    let done = session.run(|connected| async move { connected.client().batch_execute(&sql).await });
    done.map_err(Fault::Postgres)
}

/// All rows in one statement, a list for each column: each statement is a way to the server and back,
/// and one that is the same for any number of rows is prepared once.
pub fn insert(session: &Session, table: &str, columns: &[&str], rows: Vec<Vec<Value>>) -> Answer<()> {
    let lists: Vec<List> = (0..columns.len()).map(|column| List::of(&rows, column)).collect();
    let types = lists.iter().enumerate().map(|(at, list)| format!("${}::{}[]", at + 1, list.element()));
    let (columns, types) = (columns.join(", "), types.collect::<Vec<_>>().join(", "));
    let sql = format!("INSERT INTO {table} ({columns}) SELECT * FROM unnest({types}) ON CONFLICT DO NOTHING");
    let done = session.run(|connected| async move {
        let statement = connected.statement(&sql).await?;
        let parameters: Vec<&(dyn ToSql + Sync)> = lists.iter().map(List::parameter).collect();
        connected.client().execute(&statement, &parameters).await
    });
    done.map(|_| ()).map_err(Fault::Postgres)
}

/// The values of one column.
enum List {
    Integers(Vec<Option<i64>>),
    Reals(Vec<Option<f64>>),
    Texts(Vec<Option<String>>),
}

impl List {
    /// A column has values of one kind, or none.
    fn of(rows: &[Vec<Value>], column: usize) -> Self {
        let values = || rows.iter().map(|row| &row[column]);
        match values().find(|value| **value != Value::Null) {
            Some(Value::Integer(_)) => Self::Integers(
                values().map(|value| if let Value::Integer(value) = value { Some(*value) } else { None }).collect(),
            ),
            Some(Value::Real(_)) => Self::Reals(
                values().map(|value| if let Value::Real(value) = value { Some(*value) } else { None }).collect(),
            ),
            Some(Value::Text(_) | Value::Null) | None => {
                let text = |value: &Value| match value {
                    Value::Text(value) => Some(value.replace('\0', INSTEAD_OF_NUL)),
                    _ => None,
                };
                Self::Texts(values().map(text).collect())
            }
        }
    }

    fn element(&self) -> &'static str {
        match self {
            Self::Integers(_) => "bigint",
            Self::Reals(_) => "double precision",
            Self::Texts(_) => "text",
        }
    }

    fn parameter(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Integers(values) => values,
            Self::Reals(values) => values,
            Self::Texts(values) => values,
        }
    }
}

fn read(row: &tokio_postgres::Row) -> Answer<Row> {
    let value = |column: usize| {
        let value = match *row.columns()[column].type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(column).map(|value| value.map(Value::Integer)),
            Type::INT4 => {
                row.try_get::<_, Option<i32>>(column).map(|value| value.map(|value| Value::Integer(value.into())))
            }
            Type::BOOL => {
                row.try_get::<_, Option<bool>>(column).map(|value| value.map(|value| Value::Integer(value.into())))
            }
            Type::FLOAT8 => row.try_get::<_, Option<f64>>(column).map(|value| value.map(Value::Real)),
            Type::TEXT | Type::VARCHAR => row.try_get::<_, Option<String>>(column).map(|value| value.map(Value::Text)),
            _ => return Err(Fault::Shape),
        };
        value.map(|value| value.unwrap_or(Value::Null)).map_err(|error| Fault::Postgres(failed(error)))
    };
    (0..row.len()).map(value).collect::<Answer<Vec<Value>>>().map(Row)
}
