//! Who may do what: every route with every credential, as a table in `tests/cases/roles.txt`.

use super::*;

const COLUMNS: [(&str, Option<&str>); 7] = [
    ("none", None),
    ("unknown", Some("no-such-token-at-all")),
    ("sender", Some("token-of-the-sender")),
    ("viewer", Some("token-of-the-viewer")),
    ("developer", Some("token-of-the-developer")),
    ("operator", Some("token-of-the-operator")),
    ("admin", Some("token-of-the-admin")),
];

async fn outcome(method: &str, path: &str, token: Option<&str>) -> &'static str {
    let target = path.replace("{name}", "job").replace("{id}", "some-id").replace("{tag}", "name");
    let target = target.replace("{alert}", "CommonsDown");
    let target = target.replace("{namespace}", "a.yml").replace("{group}", "g2");
    let mut request = Request::builder().method(method).uri(target);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer = send(guarded(api(), TOKENS), request.body(Body::empty()).unwrap()).await;
    match answer.status {
        401 => "401",
        403 => "403",
        404 | 405 => panic!("{method} {path} is not a route"),
        _ => "ok",
    }
}

#[tokio::test]
async fn the_table_of_roles_holds() {
    let mut table = format!("{:<40}", "route");
    for (column, _) in COLUMNS {
        table.push_str(&format!("{column:<10}"));
    }
    for found in &routes().list {
        for method in found.methods.split(',') {
            table = format!("{}\n{:<40}", table.trim_end(), format!("{method} {}", found.path));
            for (_, token) in COLUMNS {
                table.push_str(&format!("{:<10}", outcome(method, found.path, token).await));
            }
        }
    }
    let table = table.trim_end();

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/roles.txt");
    let checked_in = std::fs::read_to_string(path).unwrap_or_default();
    let lines = checked_in.lines().filter(|line| !line.starts_with('#'));
    let checked_in = lines.collect::<Vec<_>>().join("\n");
    assert!(table == checked_in, "{path} should say, if this is what is meant:\n{table}");
}
