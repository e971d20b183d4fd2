//! Typed and untyped command lines, right and wrong.

use std::path::Path;

use expect_test::{Expect, expect};

use super::*;
use crate::config::Config;

const TYPED: &str = "
parameters:
  - {name: amplitude, type: double, required: true, description: height}
  - {name: sampling_rate, type: double, default: 2}
  - {name: steps, type: int}
  - {name: shout, type: boolean, default: no}
  - {name: title, type: string, default: ''}
";

const UNTYPED: &str = "
parameters:
  lr: 0.1
  epochs: {value: 10, description: passes}
  arch: resnet
  data:
";

fn show(source: &str, arguments: &[&str], dash_p: &[&str]) -> String {
    let parameters = Config::parse(source, Path::new("config.yaml")).unwrap().parameters;
    let given = Given {
        parameters: dash_p.iter().map(ToString::to_string).collect(),
        arguments: arguments.iter().map(ToString::to_string).collect(),
    };
    match resolve(parameters.as_ref(), &given) {
        Err(error) => error.to_string(),
        Ok(resolved) => {
            let param = |param: &neptune_wire::Param| {
                format!("{}: {} = {}", param.name, Kind::of(&param.value).described(), param.value)
            };
            let mut lines: Vec<_> = resolved.params.iter().map(param).collect();
            lines.push(format!("argv {:?}", resolved.arguments));
            lines.extend(resolved.notes);
            lines.join("\n")
        }
    }
}

fn typed(arguments: &[&str], expect: Expect) {
    expect.assert_eq(&show(TYPED, arguments, &[]));
}

fn untyped(arguments: &[&str], dash_p: &[&str], expect: Expect) {
    expect.assert_eq(&show(UNTYPED, arguments, dash_p));
}

#[test]
fn the_typed_form_takes_declared_names_and_leaves_no_argv() {
    typed(
        &["--amplitude", "5", "--sampling_rate", "2.5"],
        expect![[r#"
        amplitude: a double = 5.0
        sampling_rate: a double = 2.5
        shout: a boolean = false
        title: a string = 
        argv []"#]],
    );
    typed(
        &["--amplitude=-1e-3", "--steps", "-4", "--shout=YES", "--title", "a b"],
        expect![[r#"
        amplitude: a double = -0.001
        sampling_rate: a double = 2.0
        steps: an int = -4
        shout: a boolean = true
        title: a string = a b
        argv []"#]],
    );
    typed(
        &["--amplitude", "1", "--title=", "--title", "--not-a-param"],
        expect![[r#"
        --title: a value must follow (declared in config.yaml:7)
        --not-a-param: config.yaml declares no such parameter; declared are --amplitude, --sampling_rate, --steps, --shout, --title"#]],
    );
    expect![[r#"
        amplitude: a double = 5.0
        sampling_rate: a double = 2.0
        shout: a boolean = false
        title: a string = a:b
        argv []"#]]
    .assert_eq(&show(TYPED, &[], &["amplitude:5", "title:\"a:b\":words"]));
}

#[test]
fn the_typed_form_refuses_with_what_would_be_right() {
    typed(
        &["--amplitude", "abc"],
        expect![[
            r#"--amplitude: "abc" is not a double; give a number such as 2.5 or 1e-3 (declared in config.yaml:3)"#
        ]],
    );
    typed(
        &[],
        expect![[
            r#"parameter "amplitude" (config.yaml:3) needs a value and has no default; give it as `-- --amplitude 2.5`"#
        ]],
    );
    typed(
        &["--amplitud", "5", "--steps", "2.5", "--colour", "red", "stray"],
        expect![[r#"
        --amplitud: config.yaml declares no such parameter; did you mean "amplitude"?
        --steps: "2.5" is not an int; give a whole number such as 5, between -2^63 and 2^63 - 1 (declared in config.yaml:5)
        --colour: config.yaml declares no such parameter; declared are --amplitude, --sampling_rate, --steps, --shout, --title
        "stray": the parameters are given as --name value; declared are --amplitude, --sampling_rate, --steps, --shout, --title"#]],
    );
    typed(&["--amplitude"], expect!["--amplitude: a value must follow (declared in config.yaml:3)"]);
    typed(
        &["--amplitude", "--steps", "5"],
        expect!["--amplitude: a value must follow (declared in config.yaml:3)"],
    );
    typed(
        &["--amplitude", "(0, 9, 1)"],
        expect![[
            r#"--amplitude: "(0, 9, 1)" is not a double; give a number such as 2.5 or 1e-3; parameter grids are not run by this version (declared in config.yaml:3)"#
        ]],
    );
    typed(
        &["--amplitude", "1", "--steps", "9223372036854775808", "--shout", "2"],
        expect![[r#"
        --steps: "9223372036854775808" is not an int; give a whole number such as 5, between -2^63 and 2^63 - 1 (declared in config.yaml:5)
        --shout: "2" is not a boolean; give true or false (yes, no, 1 and 0 are taken too) (declared in config.yaml:6)"#]],
    );
    typed(
        &["-amplitude", "1", "--"],
        expect![[r#"
        "-amplitude": the parameters are given as --name value; declared are --amplitude, --sampling_rate, --steps, --shout, --title
        "1": the parameters are given as --name value; declared are --amplitude, --sampling_rate, --steps, --shout, --title
        "--": the parameters are given as --name value; declared are --amplitude, --sampling_rate, --steps, --shout, --title
        parameter "amplitude" (config.yaml:3) needs a value and has no default; give it as `-- --amplitude 2.5`"#]],
    );
    expect![[r#"
        -p amplitud: config.yaml declares no such parameter; did you mean "amplitude"?
        -p steps: must be NAME:VALUE, such as -p lr:0.1
        -p steps: given twice"#]]
    .assert_eq(&show(TYPED, &["--amplitude", "1"], &["amplitud:5", "steps", "steps:1", "steps:2"]));
    expect!["--amplitude: config.yaml declares no such parameter; it declares none"].assert_eq(&show(
        "parameters: []",
        &["--amplitude", "1"],
        &[],
    ));
}

#[test]
fn the_untyped_form_gives_the_program_its_command_line() {
    untyped(
        &["train", "--lr", "0.5", "--other", "x", "-v"],
        &["data:mnist"],
        expect![[r#"
        lr: a double = 0.5
        epochs: an int = 10
        arch: a string = resnet
        data: a string = mnist
        argv ["train", "--lr", "0.5", "--other", "x", "-v"]"#]],
    );
    untyped(
        &["--epochs=20", "--lr", "-1"],
        &["data:mnist", "arch:\"[7, 8]\":a list as text"],
        expect![[r#"
        lr: a double = -1.0
        epochs: an int = 20
        arch: a string = [7, 8]
        data: a string = mnist
        argv ["--epochs=20", "--lr", "-1"]"#]],
    );
    untyped(
        &["--epochs", "2.5", "--arch"],
        &["data:007:digits", "new:yes"],
        expect![[r#"
        lr: a double = 0.1
        epochs: a double = 2.5
        arch: a string = resnet
        data: an int = 7
        new: a boolean = true
        argv ["--epochs", "2.5", "--arch"]"#]],
    );
    untyped(
        &["--lrr", "0.5", "--epoch", "3"],
        &["data:x"],
        expect![[r#"
        lr: a double = 0.1
        epochs: an int = 10
        arch: a string = resnet
        data: a string = x
        argv ["--lrr", "0.5", "--epoch", "3"]
        --lrr goes to the program; it is not the parameter --lr, which keeps its value
        --epoch goes to the program; it is not the parameter --epochs, which keeps its value"#]],
    );
}

#[test]
fn a_default_is_of_the_kind_of_the_value() {
    let source = "parameters: {dropout: 0, big: 9007199254740993, shuffle: no, arch: resnet, lr: 0.1}";
    let parameters = Config::parse(source, Path::new("config.yaml")).unwrap().parameters;
    let defaults = |arguments: &[&str]| {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let resolved = resolve(parameters.as_ref(), &Given { parameters: vec![], arguments }).unwrap();
        let default = |param: neptune_wire::Param| {
            format!("{} = {:?}, else {:?}", param.name, param.value, param.default)
        };
        resolved.params.into_iter().map(default).collect::<Vec<_>>().join("\n")
    };
    expect![[r#"
        dropout = Integer(0), else Some(Integer(0))
        big = Integer(9007199254740993), else Some(Integer(9007199254740993))
        shuffle = Boolean(false), else Some(Boolean(false))
        arch = String("resnet"), else Some(String("resnet"))
        lr = Double(Number(0.1)), else Some(Double(Number(0.1)))"#]]
    .assert_eq(&defaults(&[]));
    expect![[r#"
        dropout = Double(Number(0.5)), else Some(Double(Number(0.0)))
        big = Double(Number(0.5)), else None
        shuffle = String("often"), else None
        arch = String("7"), else Some(String("resnet"))
        lr = String("auto"), else None"#]]
    .assert_eq(&defaults(&["--dropout", "0.5", "--big=0.5", "--shuffle=often", "--arch=7", "--lr", "auto"]));
}

#[test]
fn the_untyped_form_refuses_what_it_cannot_run() {
    untyped(
        &[],
        &[],
        expect![[
            r#"parameter "data" (config.yaml:6) needs a value and has no default; give it as `-- --data VALUE`"#
        ]],
    );
    untyped(
        &["--lr", "%(0.1, 0.5, 0.1)"],
        &["arch:[a, b]", "data:(1, 2, 3)", "n:%[1, 2]"],
        expect![[r#"
            -p arch: "[a, b]" is a parameter grid, which this version does not run; give one value, or put a text in quotes (declared in config.yaml:5)
            -p data: "(1, 2, 3)" is a parameter grid, which this version does not run; give one value, or put a text in quotes (declared in config.yaml:6)
            -p n:%[1, 2]: "%[1, 2]" is a parameter grid, which this version does not run; give one value, or put a text in quotes
            "%(0.1, 0.5, 0.1)" is a parameter grid, which this version does not run; give one value"#]],
    );
    untyped(
        &[],
        &["data", ":x", "data:1", "data:2"],
        expect![[r#"
        -p data: must be NAME:VALUE, such as -p lr:0.1
        -p :x: must be NAME:VALUE, such as -p lr:0.1
        -p data: given twice"#]],
    );
}

#[test]
fn without_a_job_file_everything_goes_to_the_program() {
    expect![[r#"
        seed: an int = 7
        note: a string = a
        argv ["train", "--lr", "0.5", "--", "x"]"#]]
    .assert_eq(&show("", &["train", "--lr", "0.5", "--", "x"], &["seed:7", "note:a:b"]));
}

#[test]
fn marked_arguments_are_parameters_too() {
    untyped(
        &["--lr", "%0.5", "--drop=%0.1:dropout", "%vgg:arch2", "--p", "%%"],
        &["data:x"],
        expect![[r#"
        lr: a double = 0.1
        epochs: an int = 10
        arch: a string = resnet
        data: a string = x
        dropout: a double = 0.1
        arch2: a string = vgg
        argv ["--lr", "0.1", "--drop=0.1", "vgg", "--p", "%"]
        parameter lr keeps the value 0.1 that is set for it, not 0.5"#]],
    );
    untyped(
        &["--lr", "%", "--data", "%", "--n", "%:seed"],
        &["data:x", "seed:7"],
        expect![[r#"
        lr: a double = 0.1
        epochs: an int = 10
        arch: a string = resnet
        data: a string = x
        seed: an int = 7
        argv ["--lr", "0.1", "--data", "x", "--n", "7"]"#]],
    );
    untyped(
        &["%5", "--new", "%", "--g", "%(1, 2, 1)"],
        &["data:x"],
        expect![[r#"
        "%5": name the parameter, as %5:NAME
        "%": parameter "new" has no value; give it here or with -p
        "%(1, 2, 1)" is a parameter grid, which this version does not run; give one value"#]],
    );
    expect![[r#"
        lr: a double = 0.5
        argv ["--lr", "0.5"]"#]]
    .assert_eq(&show("", &["--lr", "%0.5"], &[]));
}

proptest::proptest! {
    #[test]
    fn whatever_is_typed_has_an_answer(
        arguments in proptest::collection::vec("(--)?[a-z%\\-\":=\\[(é]{0,12}", 0..6),
        dash_p in proptest::collection::vec("[a-z]{0,3}:?[\"a-z:\\[(%é]{0,12}", 0..4),
    ) {
        for source in ["", TYPED, UNTYPED] {
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            let dash_p: Vec<_> = dash_p.iter().map(String::as_str).collect();
            proptest::prop_assert!(!show(source, &arguments, &dash_p).is_empty());
        }
    }
}
