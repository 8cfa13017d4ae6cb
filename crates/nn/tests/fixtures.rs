//! The same numbers as MLX: activations, losses, initialisers, optimizers and schedules.

mod common;

use common::{Json, check, group};
use covector_core::transforms::grad;
use covector_core::{Array, Dtype, random};
use covector_nn::init::{self, Fan};
use covector_nn::losses::{self, BinaryCrossEntropy, CrossEntropy, Reduction};
use covector_nn::optim::{self, Optimizer, Schedule};
use covector_nn::settings::{Setting, Value};
use covector_nn::{ACTIVATIONS, Dropout, Layer};
use std::collections::BTreeSet;

/// A value for each setting: the named one, or the default.
fn values(settings: &[Setting], named: &[(String, Json)]) -> Vec<Value> {
    for (name, _) in named {
        assert!(settings.iter().any(|setting| setting.name == name), "there is no setting {name}");
    }
    let value = |setting: &Setting| {
        let default = (setting.default)();
        let Some((_, given)) = named.iter().find(|(name, _)| name == setting.name) else { return default };
        match default {
            Value::Number(_) => Value::Number(given.number()),
            Value::Pair(_) => Value::Pair([given.list()[0].number(), given.list()[1].number()]),
            Value::Flag(_) => Value::Flag(given.flag()),
            Value::Axis(_) => Value::Axis(given.number() as isize),
        }
    };
    settings.iter().map(value).collect()
}

#[test]
fn activations_agree() {
    let mut seen = BTreeSet::new();
    for data in group("activations").list() {
        let x = data.at("x").array();
        for case in data.at("cases").list() {
            let name = case.at("name").text();
            let spec =
                ACTIVATIONS.iter().find(|spec| spec.function == name).unwrap_or_else(|| panic!("{name}"));
            let settings = values(spec.settings, case.at("kwargs").entries());
            let f = |x: &Array| (spec.call)(x, &settings).unwrap();
            let y = f(&x);
            check(name, &y, case.at("value"), 1e-6);
            seen.insert(name);
            let Some(slopes) = case.get("grad") else { continue };
            let weights = data.get("weights").map_or_else(
                || {
                    Array::from_slice(&(1..=y.size()).map(|i| i as f32).collect::<Vec<_>>(), y.shape())
                        .unwrap()
                },
                Json::array,
            );
            // Where MLX's exponential overflows, the fixture is made from limited arguments.
            let at = case.get("grad_at").map_or_else(|| x.clone(), Json::array);
            check(name, &grad(|x: &Array| (f(x) * &weights).sum())(&at).unwrap(), slopes, 2e-6);
        }
    }
    let all: BTreeSet<&str> = ACTIVATIONS.iter().map(|spec| spec.function).collect();
    assert_eq!(seen, all, "every activation has a fixture");
}

#[test]
fn prelu_agrees() {
    let case = group("prelu");
    let [x, alpha] = ["x", "alpha"].map(|name| case.at(name).array());
    check("prelu", &covector_nn::prelu(&x, &alpha), case.at("value"), 1e-6);
    let loss = |alpha: &Array| covector_nn::prelu(&x, alpha).square().sum();
    check("prelu", &grad(loss)(&alpha).unwrap(), case.at("grad"), 1e-6);
}

/// A loss with named options, on its arrays.
fn loss(name: &str, x: &[Array], options: &[(String, Json)], weights: Option<&Array>, r: Reduction) -> Array {
    let given = |name: &str| options.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    let number = |name: &str, default: f64| given(name).map_or(default, Json::number);
    let flag = |name: &str, default: bool| given(name).map_or(default, Json::flag);
    let axis = |default: f64| number("axis", default) as isize;
    match (name, x) {
        ("mse_loss", [a, b]) => losses::mse_loss(a, b, r),
        ("l1_loss", [a, b]) => losses::l1_loss(a, b, r),
        ("smooth_l1_loss", [a, b]) => losses::smooth_l1_loss(a, b, number("beta", 1.0), r),
        ("huber_loss", [a, b]) => losses::huber_loss(a, b, number("delta", 1.0), r),
        ("nll_loss", [a, b]) => losses::nll_loss(a, b, axis(-1.0), r),
        ("kl_div_loss", [a, b]) => losses::kl_div_loss(a, b, axis(-1.0), r),
        ("hinge_loss", [a, b]) => losses::hinge_loss(a, b, r),
        ("log_cosh_loss", [a, b]) => losses::log_cosh_loss(a, b, r),
        ("gaussian_nll_loss", [a, b, v]) => {
            losses::gaussian_nll_loss(a, b, v, flag("full", false), number("eps", 1e-6), r)
        }
        ("cosine_similarity_loss", [a, b]) => {
            losses::cosine_similarity_loss(a, b, axis(1.0), number("eps", 1e-8), r)
        }
        ("margin_ranking_loss", [a, b, t]) => losses::margin_ranking_loss(a, b, t, number("margin", 0.0), r),
        ("triplet_loss", [a, b, c]) => {
            let [p, margin, eps] = [("p", 2.0), ("margin", 1.0), ("eps", 1e-6)].map(|(n, d)| number(n, d));
            losses::triplet_loss(a, b, c, axis(-1.0), p, margin, eps, r)
        }
        ("cross_entropy", [a, t]) => {
            let label_smoothing = number("label_smoothing", 0.0);
            let options = CrossEntropy { weights, axis: axis(-1.0), label_smoothing, reduction: r };
            losses::cross_entropy_with(a, t, &options)
        }
        ("binary_cross_entropy", [a, t]) => {
            let options =
                BinaryCrossEntropy { weights, with_logits: flag("with_logits", true), reduction: r };
            losses::binary_cross_entropy_with(a, t, &options)
        }
        _ => panic!("{name} of {} arrays is unknown here", x.len()),
    }
}

#[test]
fn losses_agree() {
    for data in group("losses").list() {
        for case in data.at("cases").list() {
            let (name, reduction) = (case.at("name").text(), case.at("reduction").text());
            let what = format!("{name} {reduction} {:?}", case.at("kwargs"));
            let reduction = Reduction::named(reduction).unwrap();
            // An argument may be a function of an array: "log_softmax a".
            let texts: Vec<(&str, &str)> = case
                .at("args")
                .list()
                .iter()
                .map(|t| t.text().rsplit_once(' ').unwrap_or(("", t.text())))
                .collect();
            let apply = |function: &str, x: &Array| match function {
                "" => x.clone(),
                "log_softmax" => covector_nn::log_softmax(x, -1),
                other => panic!("{other} is unknown here"),
            };
            let arrays: Vec<Array> =
                texts.iter().map(|(_, name)| data.at("arrays").at(name).array()).collect();
            let options = case.at("kwargs").entries();
            let weights = options.iter().find(|(name, _)| name == "weights");
            let weights = weights.map(|(_, name)| data.at("arrays").at(&name.text()[1..]).array());
            let f = |x: &Array| {
                let mut all = vec![apply(texts[0].0, x)];
                all.extend(texts.iter().zip(&arrays).skip(1).map(|((function, _), x)| apply(function, x)));
                loss(name, &all, options, weights.as_ref(), reduction)
            };
            if case.get("dtype").is_some() {
                let y = f(&arrays[0].astype(Dtype::F16));
                assert_eq!(y.dtype(), Dtype::F16, "{what}");
                check(&what, &y.astype(Dtype::F32), case.at("value"), 4e-3);
                continue;
            }
            check(&what, &f(&arrays[0]), case.at("value"), 3e-6);
            if let Some(slopes) = case.get("grad") {
                check(&what, &grad(|x: &Array| f(x).sum())(&arrays[0]).unwrap(), slopes, 5e-6);
            }
        }
    }
}

#[test]
fn dropout_agrees() {
    for case in group("dropout").list() {
        random::seed(case.at("seed").number() as u64);
        let dropout = Dropout::new(case.at("p").number()).unwrap();
        check("dropout", &dropout.forward(&case.at("x").array()), case.at("y"), 1e-6);
    }
}

#[test]
fn initialisers_agree() {
    for case in group("init").list() {
        let text = case.at("init").text();
        let Json::Call(name, args, _) = Json::parse(text) else { panic!("{text} is no call") };
        let args: Vec<f64> = args.iter().map(Json::number).collect();
        let shape: Vec<usize> = case.at("shape").list().iter().map(|n| n.number() as usize).collect();
        let gain = case.at("kwargs").get("gain").map_or(1.0, Json::number);
        let fan = match case.at("kwargs").get("mode").map_or("fan_in", Json::text) {
            "fan_in" => Fan::In,
            _ => Fan::Out,
        };
        let (f32, none) = (Dtype::F32, None);
        random::seed(5);
        let made = match (name.as_str(), &args[..]) {
            ("constant", &[value]) => Ok(init::constant(&shape, value, f32)),
            ("identity", []) => init::identity(&shape, f32),
            ("normal", &[mean, std]) => init::normal(&shape, mean, std, f32, none),
            ("uniform", &[low, high]) => init::uniform(&shape, low, high, f32, none),
            ("glorot_normal", []) => init::glorot_normal(&shape, gain, f32, none),
            ("glorot_uniform", []) => init::glorot_uniform(&shape, gain, f32, none),
            ("he_normal", []) => init::he_normal(&shape, fan, gain, f32, none),
            ("he_uniform", []) => init::he_uniform(&shape, fan, gain, f32, none),
            _ => panic!("{text} is unknown here"),
        };
        check(text, &made.unwrap(), case.at("y"), 1e-7);
    }
}

/// A learning rate: a number, or the call of a schedule.
fn schedule(value: &Json) -> Schedule {
    let (name, args) = match value {
        Json::Call(name, args, _) => (name.as_str(), args),
        number => return Schedule::from(number.number()),
    };
    let number = |i: usize| args.get(i).map_or(0.0, Json::number);
    let steps = |i: usize| number(i) as u64;
    let made = match name {
        "exponential_decay" => Ok(optim::exponential_decay(number(0), number(1))),
        "step_decay" => optim::step_decay(number(0), number(1), steps(2)),
        "cosine_decay" => optim::cosine_decay(number(0), steps(1), number(2)),
        "linear_schedule" => optim::linear_schedule(number(0), number(1), steps(2)),
        "join_schedules" => {
            let parts: Vec<Schedule> = args[0].list().iter().map(schedule).collect();
            let boundaries: Vec<u64> = args[1].list().iter().map(|n| n.number() as u64).collect();
            optim::join_schedules(&parts, &boundaries)
        }
        _ => panic!("{name} is unknown here"),
    };
    made.unwrap()
}

#[test]
fn optimizers_agree() {
    let mut seen = BTreeSet::new();
    for data in group("optimizers").list() {
        let names: Vec<&str> =
            data.at("parameters").entries().iter().map(|(name, _)| name.as_str()).collect();
        let arrays = |at: &Json| names.iter().map(|name| at.at(name).array()).collect::<Vec<Array>>();
        for case in data.at("cases").list() {
            let text = case.at("optimizer").text();
            let Json::Call(name, args, named) = Json::parse(text) else { panic!("{text} is no call") };
            let spec =
                optim::OPTIMIZERS.iter().find(|spec| spec.name == name).unwrap_or_else(|| panic!("{name}"));
            let optimizer = (spec.make)(schedule(&args[0]), &values(spec.settings, &named)).unwrap();
            seen.insert(spec.name);
            let mut params = arrays(data.at("parameters"));
            let mut state = optimizer.init(&params);
            for (grads, wanted) in data.at("gradients").list().iter().zip(case.at("steps").list()) {
                (params, state) = optimizer.update(&params, &arrays(grads), &state).unwrap();
                for (param, name) in params.iter().zip(&names) {
                    check(&format!("{text}: {name}"), param, wanted.at(name), 5e-7);
                }
            }
            assert_eq!(state.step.item::<u64>() as f64, case.at("state").at("step").number());
            assert_eq!(state.slots.len(), optimizer.slots().len());
            for (slot, arrays) in &state.slots {
                for (array, name) in arrays.iter().zip(&names) {
                    check(
                        &format!("{text}: {name}.{slot}"),
                        array,
                        case.at("state").at(&format!("{name}.{slot}")),
                        5e-7,
                    );
                }
            }
        }
    }
    let all: BTreeSet<&str> = optim::OPTIMIZERS.iter().map(|spec| spec.name).collect();
    assert_eq!(seen, all, "every optimizer has a fixture");
}

#[test]
fn schedules_agree() {
    for case in group("schedules").list() {
        let text = case.at("schedule").text();
        let rate = schedule(&Json::parse(text));
        for (step, wanted) in case.at("values").list().iter().enumerate() {
            let found = rate.at(&Array::scalar(step as u64)).unwrap().item::<f32>();
            assert!((f64::from(found) - wanted.number()).abs() <= 1e-7, "{text} at {step}: {found}");
        }
    }
}

#[test]
fn clipping_agrees() {
    for case in group("clip").list() {
        let (names, grads): (Vec<&str>, Vec<Array>) =
            case.at("inputs").entries().iter().map(|(name, values)| (name.as_str(), values.array())).unzip();
        let (clipped, norm) = optim::clip_grad_norm(&grads, case.at("max_norm").number()).unwrap();
        check("norm", &norm, case.at("norm"), 1e-6);
        for (name, found) in names.iter().zip(&clipped) {
            check(name, found, case.at("gradients").at(name), 1e-6);
        }
    }
}
