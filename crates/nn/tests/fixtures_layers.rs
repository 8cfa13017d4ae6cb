//! The same numbers as MLX: layers with their first values, outputs and gradients.

mod common;

use common::{Json, check, group};
use covector_core::ops::Mask;
use covector_core::transforms::grad;
use covector_core::{Array, Dtype, Tree, ops, random};
use covector_derive::Tree;
use covector_nn::{
    Embedding, Gelu, Gru, Layer, LayerNorm, Linear, Lstm, MultiHeadAttention, Prelu, RmsNorm, Rnn, Tanh,
    gelu, recurrent,
};
use std::collections::BTreeSet;

/// The layers that are in both languages.
#[derive(Clone, Debug, Tree)]
#[tree(crate = "covector_core")]
enum Any {
    Identity,
    Linear(Linear),
    Embedding(Embedding),
    LayerNorm(LayerNorm),
    RmsNorm(RmsNorm),
    Prelu(Prelu),
    Gelu(Gelu),
    Tanh(Tanh),
    Sequential(Vec<Any>),
    Lstm(Lstm),
    Gru(Gru),
    /// An `Rnn`, and whether its function is `gelu` instead of the hyperbolic tangent.
    Rnn(Rnn, bool),
    Attention(MultiHeadAttention),
}

impl Any {
    /// The layer that a call in Python makes, if it is one of these.
    fn new(call: &Json) -> Option<Self> {
        let Json::Call(name, args, named) = call else { panic!("{call:?} is no call") };
        let given = |name: &str| named.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        let flag = |name: &str, default: bool| given(name).map_or(default, Json::flag);
        let size = |i: usize| args[i].number() as usize;
        let linear = |inputs: usize, outputs: usize, bias: bool| {
            if bias { Linear::new(inputs, outputs) } else { Linear::without_bias(inputs, outputs) }
        };
        Some(match name.as_str() {
            "nn.Identity" => Any::Identity,
            "nn.Linear" => Any::Linear(linear(size(0), size(1), flag("bias", true))),
            "nn.Embedding" => Any::Embedding(Embedding::new(size(0), size(1))),
            "nn.LayerNorm" => {
                let LayerNorm { weight, bias, eps } = LayerNorm::new(size(0));
                let affine = flag("affine", true);
                Any::LayerNorm(LayerNorm {
                    weight: weight.filter(|_| affine),
                    bias: bias.filter(|_| affine && flag("bias", true)),
                    eps: given("eps").map_or(eps, Json::number),
                })
            }
            "nn.RMSNorm" => Any::RmsNorm(RmsNorm::new(size(0))),
            "nn.PReLU" => {
                let mut layer = Prelu::new(args.first().map_or(1, |n| n.number() as usize));
                if let Some(first) = given("init") {
                    layer.weight = ops::full(layer.weight.shape(), first.number(), Dtype::F32);
                }
                Any::Prelu(layer)
            }
            "nn.GELU" => Any::Gelu(Gelu),
            "nn.Tanh" => Any::Tanh(Tanh),
            "nn.Sequential" => Any::Sequential(args.iter().map(Any::new).collect::<Option<_>>()?),
            "nn.LSTM" => {
                let layer = Lstm::new(size(0), size(1));
                Any::Lstm(Lstm { bias: layer.bias.filter(|_| flag("bias", true)), ..layer })
            }
            "nn.GRU" => {
                let Gru { wx, wh, b, bhn } = Gru::new(size(0), size(1));
                let keep = |x: Option<Array>| x.filter(|_| flag("bias", true));
                Any::Gru(Gru { wx, wh, b: keep(b), bhn: keep(bhn) })
            }
            "nn.RNN" => {
                let layer = Rnn::new(size(0), size(1));
                let bias = layer.bias.filter(|_| flag("bias", true));
                let gelu = given("nonlinearity") == Some(&Json::Name("nn.gelu".into()));
                Any::Rnn(Rnn { bias, ..layer }, gelu)
            }
            "nn.MultiHeadAttention" => {
                let dims = size(0);
                let or = |name: &str, default: usize| given(name).map_or(default, |n| n.number() as usize);
                let bias = flag("bias", false);
                let keys = or("key_input_dims", dims);
                let values = or("value_dims", dims);
                Any::Attention(MultiHeadAttention {
                    query_proj: linear(or("query_input_dims", dims), dims, bias),
                    key_proj: linear(keys, dims, bias),
                    value_proj: linear(or("value_input_dims", keys), values, bias),
                    out_proj: linear(values, or("value_output_dims", dims), bias),
                    num_heads: size(1),
                })
            }
            _ => return None,
        })
    }

    /// The outputs for an array, further ones that may be left out, and a mask that is the name `"causal"`.
    fn outputs(&self, x: &Array, rest: &[Option<Array>], causal: bool) -> Vec<Array> {
        let one = |layer: &dyn Layer| vec![layer.forward(x)];
        let further = |i: usize| rest.get(i).and_then(Option::as_ref);
        match self {
            Any::Identity => vec![x.clone()],
            Any::Linear(layer) => one(layer),
            Any::Embedding(layer) => one(layer),
            Any::LayerNorm(layer) => one(layer),
            Any::RmsNorm(layer) => one(layer),
            Any::Prelu(layer) => one(layer),
            Any::Gelu(layer) => one(layer),
            Any::Tanh(layer) => one(layer),
            Any::Sequential(layers) => {
                vec![layers.iter().fold(x.clone(), |x, layer| layer.outputs(&x, &[], false).remove(0))]
            }
            Any::Lstm(layer) => {
                let (hidden, cell) = layer.try_run(x, further(0), further(1)).unwrap();
                vec![hidden, cell]
            }
            Any::Gru(layer) => vec![layer.try_run(x, further(0)).unwrap()],
            Any::Rnn(layer, is_gelu) => {
                let f = |x: &Array| Ok::<_, covector_core::Error>(if *is_gelu { gelu(x) } else { x.tanh() });
                vec![
                    recurrent::try_rnn(x, &layer.wxh, &layer.whh, layer.bias.as_ref(), further(0), f)
                        .unwrap(),
                ]
            }
            Any::Attention(layer) => {
                let mask = match (causal, further(2)) {
                    (true, _) => Mask::Causal,
                    (false, Some(mask)) => Mask::Array(mask),
                    (false, None) => Mask::None,
                };
                let [keys, values] = [0, 1].map(|i| further(i).expect("keys and values"));
                vec![layer.try_attend(x, keys, values, mask).unwrap()]
            }
        }
    }
}

/// The sum with weights that differ from element to element.
fn weighed(y: &Array) -> Array {
    let weights: Vec<f32> = (0..y.size()).map(|i| (i % 5) as f32 - 2.0).collect();
    (y * Array::from_slice(&weights, y.shape()).unwrap()).sum()
}

fn squares(y: &Array) -> Array {
    y.square().sum()
}

fn seeded(case: &Json) -> Option<Any> {
    random::seed(case.get("seed").map_or(7, |seed| seed.number() as u64));
    Any::new(&Json::parse(case.at("layer").text()))
}

/// Compares the gradients of a loss with those of a map, both in the order of the parameters.
#[track_caller]
fn check_gradients(what: &str, layer: &Any, wanted: &Json, tolerance: f64, loss: impl Fn(&Any) -> Array) {
    let grads = grad(loss)(layer).unwrap().leaves();
    assert_eq!(grads.len(), wanted.entries().len(), "{what}");
    for (found, (name, wanted)) in grads.iter().zip(wanted.entries()) {
        check(&format!("{what}: gradient of {name}"), found, wanted, tolerance);
    }
}

#[test]
fn layers_agree() {
    for case in group("layers").list() {
        let what = case.at("layer").text();
        let layer = seeded(case).unwrap_or_else(|| panic!("{what} is unknown here"));
        let x = case.at("x").array();
        if case.get("dtype").is_some() {
            let y = layer.outputs(&x.astype(Dtype::F16), &[], false).remove(0);
            assert_eq!(y.dtype(), Dtype::F16);
            check(what, &y.astype(Dtype::F32), case.at("y"), 2e-3);
            continue;
        }
        let parameters = case.at("parameters").entries();
        assert_eq!(layer.leaves().len(), parameters.len(), "{what}");
        for (found, (name, wanted)) in layer.leaves().iter().zip(parameters) {
            // The first values are the same to the last bit.
            check(&format!("{what}: {name}"), found, wanted, 0.0);
        }
        check(what, &layer.outputs(&x, &[], false)[0], case.at("y"), 3e-6);
        let total = if case.get("loss").is_some() { squares } else { weighed };
        let loss = |layer: &Any, x: &Array| total(&layer.outputs(x, &[], false)[0]);
        if let Some(wanted) = case.get("gradients") {
            check_gradients(what, &layer, wanted, 1e-5, |layer| loss(layer, &x));
        }
        if let Some(wanted) = case.get("input_gradient") {
            check(what, &grad(|x: &Array| loss(&layer, x))(&x).unwrap(), wanted, 1e-5);
        }
    }
}

#[test]
fn layers_of_sequences_agree() {
    let (mut unknown, mut seen) = (BTreeSet::new(), 0);
    for case in group("sequence").list() {
        let what = case.at("layer").text();
        let Some(layer) = seeded(case) else {
            unknown.insert(what.split('(').next().unwrap_or_default());
            continue;
        };
        seen += 1;
        let args = case.at("args").list();
        let causal = args.contains(&Json::Text("causal".into()));
        let mut arrays = args.iter().map(|a| matches!(a, Json::List(_)).then(|| a.array()));
        let x = arrays.next().flatten().expect("an input");
        let rest: Vec<Option<Array>> = arrays.collect();
        let shapes = case.at("parameters").entries();
        assert_eq!(layer.leaves().len(), shapes.len(), "{what}");
        for (found, (name, shape)) in layer.leaves().iter().zip(shapes) {
            let shape: Vec<usize> = shape.list().iter().map(|n| n.number() as usize).collect();
            assert_eq!(found.shape(), shape, "{what}: {name}");
        }
        for (found, (name, wanted)) in
            layer.leaves().iter().zip(case.get("values").map_or(&[][..], Json::entries))
        {
            check(&format!("{what}: {name}"), found, wanted, 0.0);
        }
        let outputs = layer.outputs(&x, &rest, causal);
        assert_eq!(outputs.len(), case.at("y").list().len());
        for (found, wanted) in outputs.iter().zip(case.at("y").list()) {
            check(what, found, wanted, 3e-6);
        }
        let loss = |layer: &Any, x: &Array| {
            layer.outputs(x, &rest, causal).iter().map(weighed).reduce(|a, b| a + b).unwrap()
        };
        check_gradients(what, &layer, case.at("gradients"), 1e-5, |layer| loss(layer, &x));
        check(what, &grad(|x: &Array| loss(&layer, x))(&x).unwrap(), case.at("input_gradient"), 1e-5);
        if let Some(wanted) = case.get("square") {
            check_gradients(what, &layer, wanted, 1e-5, |layer| {
                squares(&layer.outputs(&x, &rest, causal)[0])
            });
        }
    }
    let python = ["ALiBi", "RoPE", "SinusoidalPositionalEncoding"].map(|name| format!("nn.{name}"));
    let transformers =
        ["", "DecoderLayer", "Encoder", "EncoderLayer"].map(|name| format!("nn.Transformer{name}"));
    assert_eq!(unknown, python.iter().chain(&transformers).map(String::as_str).collect(), "only in Python");
    assert!(seen >= 35, "{seen} cases");
}
