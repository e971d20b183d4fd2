//! Job files as people write them, right and wrong.

use std::path::Path;

use expect_test::{Expect, expect};

use super::*;

fn parse(source: &str) -> Result<Config, ConfigError> {
    Config::parse(source, Path::new("config.yaml"))
}

fn check(source: &str, expect: Expect) {
    expect.assert_eq(&parse(source).expect_err("the file must be refused").to_string());
}

/// The job file of the original's sine-cosine example, in the spelling of 1.0.
const ORIGINAL: &str = "
name: Sine-Cosine Generator
description: Draws two curves
project: Trigonometry
owner: someone@example.com
tags: [trigonometry, example-1]
properties:
  - key: data version
    value: 1.10
parameters:
  - name: amplitude
    type: double
    required: true
    default: 1
    description: Height of the curves
  - name: sampling_rate
    type: double
    required: false
    default: 0.5
  - name: verbose
    type: boolean
    default: no
metric:
  channel: sin
  goal: maximize
exclude:
  - data/
paths-to-dump: [library]
dump-dir-url: /tmp/dump
docker-image: python:3
";

#[test]
fn the_original_job_file_is_read() {
    let config = parse(ORIGINAL).unwrap();
    expect![[r#"
        Config {
            name: Some(
                "Sine-Cosine Generator",
            ),
            description: Some(
                "Draws two curves",
            ),
            project: Some(
                "Trigonometry",
            ),
            project_key: None,
            tags: [
                trigonometry,
                example-1,
            ],
            properties: {
                "data version": "1.10",
            },
            parameters: Some(
                Parameters {
                    file: "config.yaml",
                    form: Typed,
                    definitions: [
                        Definition {
                            name: amplitude,
                            kind: Some(
                                Double,
                            ),
                            required: true,
                            default: Some(
                                Double(
                                    Number(
                                        1.0,
                                    ),
                                ),
                            ),
                            description: "Height of the curves",
                            line: 11,
                        },
                        Definition {
                            name: sampling_rate,
                            kind: Some(
                                Double,
                            ),
                            required: false,
                            default: Some(
                                Double(
                                    Number(
                                        0.5,
                                    ),
                                ),
                            ),
                            description: "",
                            line: 16,
                        },
                        Definition {
                            name: verbose,
                            kind: Some(
                                Boolean,
                            ),
                            required: false,
                            default: Some(
                                Boolean(
                                    false,
                                ),
                            ),
                            description: "",
                            line: 20,
                        },
                    ],
                },
            ),
            metric: Some(
                Metric {
                    channel: sin,
                    direction: Maximize,
                },
            ),
            exclude: [
                "data/",
            ],
            paths: [
                "library",
            ],
            storage: Some(
                "/tmp/dump",
            ),
            executable: None,
            command: [],
            log_channels: [],
            disable_stdout_channel: None,
            disable_stderr_channel: None,
            server: None,
            notes: [
                "config.yaml:5: owner: has no effect; a job belongs to whoever runs it",
                "config.yaml:30: docker-image: has no effect on a job that runs here; it is for queued jobs",
            ],
        }"#]]
    .assert_eq(&format!("{config:#?}"));
}

#[test]
fn the_map_forms_of_parameters_are_read() {
    let config = parse(
        "
parameters:
  lr: 0.1
  epochs: {value: 10, description: passes over the data}
  batch: {default: 64}
  text: '[7, 8]'
  none: None
  later:
log_channels: ['loss:', 'acc=:accuracy', {mse: error}, {prefix: 'f1 ', name: f1}]
",
    )
    .unwrap();
    let parameters = config.parameters.unwrap();
    let shown: Vec<_> = parameters
        .definitions
        .iter()
        .map(|d| format!("{} {:?} required={} {:?}", d.name, d.default, d.required, d.description))
        .collect();
    expect![[r#"
        lr Some(Double(Number(0.1))) required=false ""
        epochs Some(Integer(10)) required=false "passes over the data"
        batch Some(Integer(64)) required=false ""
        text Some(String("[7, 8]")) required=false ""
        none Some(String("None")) required=false ""
        later None required=true """#]]
    .assert_eq(&shown.join("\n"));
    let channels: Vec<_> = config
        .log_channels
        .iter()
        .map(|channel| format!("{:?} -> {}", channel.prefix, channel.name))
        .collect();
    expect![[r#"
        "loss:" -> loss
        "acc=" -> accuracy
        "mse" -> error
        "f1 " -> f1"#]]
    .assert_eq(&channels.join("\n"));
}

#[test]
fn every_mistake_is_named_with_its_line_and_the_right_thing() {
    check(
        "
nmae: x
paramters: []
colour: red
tags: [Best Model, ok]
project-key: trig
properties: {a: [1]}
metric: {channel: loss, direction: down}
exclude: data
disable-stdout-channel: perhaps
log-channels: ['loss:', 'loss:', '']
port: http
name: [a]
",
        expect![[r#"
            config.yaml:2: nmae: unknown key; did you mean "name"?
            config.yaml:3: paramters: unknown key; did you mean "parameters"?
            config.yaml:4: colour: unknown key
            config.yaml:5: tags[1]: tag "Best Model": must be 1 to 64 lower-case letters, digits, '_' or '-'
            config.yaml:6: project-key: project key "trig": must be 1 to 16 upper-case letters or digits, starting with a letter, such as TRIG
            config.yaml:7: properties.a: must be a text, not a list
            config.yaml:8: metric.direction: "down" must be minimize or maximize
            config.yaml:9: exclude: must be a list, such as [a, b], not a text
            config.yaml:10: disable-stdout-channel: must be true or false
            config.yaml:11: log-channels[3]: a log channel needs the text that stands before the number, such as `loss:`
            config.yaml:11: log-channels: the prefix "loss:" stands here twice
            config.yaml:12: port: "http" is no port; give one such as 8420
            config.yaml:13: name: must be a text, not a list"#]],
    );
}

#[test]
fn mistakes_in_parameters_are_named() {
    check(
        "
parameters:
  - name: amplitude
    type: float64
  - name: rate
    type: double
    default: fast
  - type: int
  - name: n
    type: int
    default: [1, 2]
    requierd: true
  - name: n
  - plain
  - {name: flag, type: boolean, default: maybe}
  - {name: twice, type: int}
  - {name: twice, type: int}
",
        expect![[r#"
            config.yaml:4: parameters[1].type: "float64" is no type; the types are int, double, string and boolean
            config.yaml:7: parameters[2].default: "fast" is not a double; give a number such as 2.5 or 1e-3
            config.yaml:8: parameters[3]: name is missing; this is a map {name: amplitude, type: double, default: 1.0}
            config.yaml:11: parameters[4].default: a list is a parameter grid, which this version does not run; give one value, or put a text in quotes
            config.yaml:12: parameters[4].requierd: unknown key; did you mean "required"?
            config.yaml:13: parameters[5]: type is missing; this is a map {name: amplitude, type: double, default: 1.0}
            config.yaml:14: parameters[6]: must be a map {name: amplitude, type: double, default: 1.0}, not a text
            config.yaml:15: parameters[7].default: "maybe" is not a boolean; give true or false (yes, no, 1 and 0 are taken too)
            config.yaml:17: parameters[9]: parameter twice stands in line 16 already"#]],
    );
    check(
        "parameters:\n  lr: [0.1, 0.2]\n  a: {valeu: 1}\n  b: \"%[1, 2, 3]\"\n  c: (1, 2, 3)\n",
        expect![[r#"
        config.yaml:2: parameters.lr: a list is a parameter grid, which this version does not run; give one value, or put a text in quotes
        config.yaml:3: parameters.a.valeu: unknown key; did you mean "value"?
        config.yaml:5: parameters.c: "(1, 2, 3)" is a parameter grid, which this version does not run; give one value, or put a text in quotes"#]],
    );
    check(
        "parameters: amplitude",
        expect![
            "config.yaml:1: parameters: must be a list of {name, type, required, default, description} or a map of names to values, not a text"
        ],
    );
    check(
        "properties: [{key: a}, b, {key: a, value: b, vlaue: c}]",
        expect![[r#"
        config.yaml:1: properties[1]: value is missing; this is a map {key: …, value: …}
        config.yaml:1: properties[2]: must be a map {key: …, value: …}, not a text
        config.yaml:1: properties[3].vlaue: unknown key; did you mean "value"?"#]],
    );
    check(
        "metric: {channel: loss}",
        expect![
            "config.yaml:1: metric: direction is missing; this is a map {channel: loss, direction: minimize}"
        ],
    );
    check(
        "metric: {channel: loss, direction: minimize, goal: minimize}",
        expect!["config.yaml:1: metric: direction and goal are the same thing; keep one"],
    );
}

#[test]
fn what_is_no_map_is_refused() {
    check("- a\n- b\n", expect!["config.yaml:1: must be a map of keys such as `name: my job`, not a list"]);
    check("just words", expect!["config.yaml:1: must be a map of keys such as `name: my job`, not a text"]);
    check("a: 1\nb: [1\n", expect!["config.yaml:3: while parsing a flow sequence, expected ',' or ']'"]);
}

#[test]
fn an_empty_file_says_nothing() {
    for empty in ["", "# only words\n", "---\n", "\u{feff}", "{}"] {
        assert_eq!(parse(empty).unwrap(), Config::default(), "{empty:?}");
    }
}

#[test]
fn the_global_file_of_1x_gives_the_server() {
    assert_eq!(parse("host: lab\nport: 9000").unwrap().server.as_deref(), Some("http://lab:9000"));
    assert_eq!(parse("host: https://lab").unwrap().server.as_deref(), Some("https://lab"));
    let config = parse("username: u\npassword: p").unwrap();
    assert_eq!(config.notes.len(), 2);
    assert!(!config.notes[1].contains(": p "), "a password is never repeated: {}", config.notes[1]);
}

#[test]
fn a_level_that_names_a_project_hides_both_ways_of_the_lower_ones() {
    let named = |high: &str, low: &str| {
        let both = parse(high).unwrap().over(parse(low).unwrap());
        let project = crate::project::ProjectName::of(&both);
        format!("{} {:?} {}", project.key, project.name, project.key_given)
    };
    let low = "{project: Trigonometry, project-key: TRIG}";
    assert_eq!(named("project: OTHER", low), r#"OTHER "OTHER" true"#);
    assert_eq!(named("project: Other one", low), r#"OTHERONE "Other one" false"#);
    assert_eq!(named("project-key: OTHER", low), r#"OTHER "OTHER" true"#);
    assert_eq!(named("name: a job", low), r#"TRIG "Trigonometry" true"#);
}

#[test]
fn the_higher_level_wins_lists_unite_properties_merge() {
    let low =
        parse("{name: low, project: P, tags: [a, b], properties: {x: 1, y: 1}, exclude: [data]}").unwrap();
    let high =
        parse("{name: high, project-key: KEY, tags: [b, c], properties: {y: 2}, exclude: [tmp]}").unwrap();
    let both = high.over(low);
    assert_eq!(both.name.as_deref(), Some("high"));
    assert_eq!((both.project, both.project_key.unwrap().as_str()), (None, "KEY"));
    assert_eq!(both.tags.iter().map(Tag::as_str).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(both.exclude, ["data", "tmp"]);
    assert_eq!(both.properties, BTreeMap::from([("x".into(), "1".into()), ("y".into(), "2".into())]));
}

#[test]
fn files_are_found_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(find_job_file(folder.path(), None), None);
    for name in JOB_FILES.iter().rev() {
        let file = folder.path().join(name);
        std::fs::write(&file, "").unwrap();
        assert_eq!(find_job_file(folder.path(), None), Some(file));
    }
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join(".neptune.yaml"), "host: lab").unwrap();
    assert_eq!(find_job_file(home.path(), Some(home.path())), None, "the user's own file is no job file");
    assert_eq!(Config::read_global(Some(home.path())).unwrap().server.as_deref(), Some("http://lab:8420"));
}

#[test]
fn files_that_are_no_text_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("neptune.yaml");
    std::fs::write(&file, [0xff, 0xfe, 0]).unwrap();
    assert!(Config::read_file(&file).unwrap_err().to_string().contains("not UTF-8"));
    assert!(matches!(Config::read_file(&folder.path().join("none.yaml")), Err(ConfigError::Read { .. })));
}

proptest::proptest! {
    #[test]
    fn whatever_a_file_holds_has_an_answer(
        keys in proptest::collection::vec("(name|tags|parameters|properties|metric|log-channels|exclude|x)", 1..4),
        values in proptest::collection::vec("[a-z0-9:{}\\[\\],&*!|>'\"#\\- \\n~é]{0,30}", 1..4),
    ) {
        let lines = keys.iter().zip(&values).map(|(key, value)| format!("{key}: {value}\n"));
        if let Err(error) = parse(&lines.collect::<String>()) {
            proptest::prop_assert!(error.to_string().starts_with("config.yaml:"), "{}", error);
        }
    }
}
