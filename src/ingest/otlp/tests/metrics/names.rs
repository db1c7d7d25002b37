//! What becomes of names, resources and scopes under each setting.

use super::*;

fn promoting(change: impl FnOnce(&mut Config)) -> Rig {
    let mut config = Config::default();
    change(&mut config);
    Rig::with_otlp(config, |_| {})
}

/// Stores a counter of a resource and a scope, and returns the series.
async fn named(rig: &Rig) -> Vec<String> {
    let mut request = request(vec![sum(true, 2)]);
    let metrics = &mut request.resource_metrics[0];
    let pairs = [("service.name", "fence"), ("host.name", "h1")];
    metrics.resource = resource(&pairs);
    metrics.scope_metrics[0].schema_url = "https://s".to_owned();
    metrics.scope_metrics[0].scope = Some(InstrumentationScope {
        version: "1.2".to_owned(),
        attributes: vec![pair("a.b", text("c"))],
        ..scope("lib").unwrap()
    });
    let Some(Data::Sum(sum)) = &mut request.resource_metrics[0].scope_metrics[0].metrics[0].data
    else {
        panic!("a sum")
    };
    sum.data_points[0].attributes = vec![pair("http.route", text("/"))];
    let stored = stored(rig, &request).await;
    stored.into_iter().map(|(series, _)| series).filter(|s| !s.starts_with("target_info")).collect()
}

#[tokio::test]
async fn names_follow_the_strategy() {
    let with = |strategy| promoting(|config| config.translation_strategy = strategy);
    for (strategy, want) in [
        (Strategy::UnderscoreEscapingWithSuffixes, "requests_total{"),
        (Strategy::UnderscoreEscapingWithoutSuffixes, "requests{"),
        (Strategy::NoUTF8EscapingWithSuffixes, "requests_total{"),
        (Strategy::NoTranslation, "requests{"),
    ] {
        let series = named(&with(strategy)).await;
        let route = if strategy.escapes() { "http_route=" } else { "http.route=" };
        assert!(series[0].starts_with(want) && series[0].contains(route), "{series:?}");
    }
}

#[tokio::test]
async fn resources_and_scopes_become_labels_where_they_are_promoted() {
    let plain = named(&Rig::new()).await;
    assert!(!plain[0].contains("host_name") && !plain[0].contains("otel_scope"), "{plain:?}");

    let all = promoting(|config| {
        config.promote_resource_attributes = vec!["host.name".to_owned()];
        config.promote_scope_metadata = true;
    });
    let series = named(&all).await;

    for label in [
        "host_name=\"h1\"",
        "otel_scope_name=\"lib\"",
        "otel_scope_version=\"1.2\"",
        "otel_scope_schema_url=\"https://s\"",
        "otel_scope_a_b=\"c\"",
    ] {
        assert!(series[0].contains(label), "{label} in {series:?}");
    }
}

#[tokio::test]
async fn a_promoted_attribute_gives_way_to_the_label_that_its_name_becomes() {
    let rig = promoting(|config| {
        config.promote_all_resource_attributes = true;
        config.promote_scope_metadata = true;
    });
    let own = [("host_name", "own"), ("otel_scope_name", "own")];
    let mut request = request(vec![gauge("up", vec![number(1.0, &own)])]);
    let metrics = &mut request.resource_metrics[0];
    metrics.resource = resource(&[("host.name", "h1"), ("os_type", "b"), ("os.type", "a")]);
    metrics.scope_metrics[0].scope = scope("lib");

    let got = stored(&rig, &request).await;

    let (series, _) = &got[0];
    for label in ["host_name=\"own\"", "os_type=\"a\"", "otel_scope_name=\"lib\""] {
        assert!(series.contains(label), "{label} in {series}");
    }
}

/// Returns the labels of a gauge of a scope, which says other things of its scope itself.
async fn of_scope(scope: InstrumentationScope) -> String {
    let rig = promoting(|config| config.promote_scope_metadata = true);
    let own = [("otel_scope_version", "own"), ("route", "/")];
    let mut request = request(vec![gauge("up", vec![number(1.0, &own)])]);
    request.resource_metrics[0].scope_metrics[0].scope = Some(scope);
    stored(&rig, &request).await.remove(0).0
}

#[tokio::test]
async fn a_promoted_scope_is_what_it_says_of_itself_first() {
    let attributes = vec![pair("name", text("other")), pair("kind", text("k"))];
    let scope = InstrumentationScope { attributes, ..scope("lib").unwrap() };

    let named = of_scope(scope.clone()).await;
    let unnamed = of_scope(InstrumentationScope { name: String::new(), ..scope }).await;

    assert_eq!(named, r#"up{otel_scope_kind="k", otel_scope_name="lib", route="/"}"#);
    assert_eq!(unnamed, r#"up{otel_scope_version="own", route="/"}"#);
}

#[tokio::test]
async fn all_attributes_of_a_resource_are_promoted_but_those_that_are_ignored() {
    let all_but_one = promoting(|config| {
        config.promote_all_resource_attributes = true;
        config.ignore_resource_attributes = vec!["host.name".to_owned()];
    });

    let series = named(&all_but_one).await;

    assert!(series[0].contains("service_name=\"fence\""), "{series:?}");
    assert!(!series[0].contains("host_name"), "{series:?}");
}

#[tokio::test]
async fn target_info_repeats_job_and_instance_only_where_that_is_wanted() {
    for keeps in [false, true] {
        let rig = promoting(|config| config.keep_identifying_resource_attributes = keeps);
        let mut request = request(vec![sum(true, 2)]);
        request.resource_metrics[0].resource = resource(&[
            ("service.name", "fence"),
            ("service.namespace", "gen3"),
            ("service.instance.id", "f-1"),
            ("host.name", "h1"),
        ]);

        let stored = stored(&rig, &request).await;

        let info = stored.iter().find(|(series, _)| series.starts_with("target_info")).unwrap();
        assert!(info.0.contains("host_name=\"h1\""), "{info:?}");
        for label in
            ["service_name=\"fence\"", "service_namespace=\"gen3\"", "service_instance_id=\"f-1\""]
        {
            assert_eq!(info.0.contains(label), keeps, "{label} in {info:?}");
        }
    }
}
