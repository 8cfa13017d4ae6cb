//! Primitives of other programs: each gets its own evaluation, derivative and plan, whatever its name and however little
//! it says of itself.

use covector_core::buffer::Data;
use covector_core::primitive::{
    Avals, Batch, Derivative, Linear, Param, Params, Primitive, Structured, Values,
};
use covector_core::transforms::{compile, grad, jvp, vmap};
use covector_core::{Array, Aval, Result, eval, ops};
use std::sync::Arc;

/// The names that the library uses for operations of its own, in rules, plans and printing.
const TAKEN: [&str; 22] = [
    "concatenate",
    "transpose",
    "matmul",
    "multiply",
    "stop_gradient",
    "add",
    "subtract",
    "divide",
    "negative",
    "square",
    "maximum",
    "where",
    "real_abs",
    "astype",
    "equal",
    "logical_and",
    "alias",
    "reduce_sum",
    "slice",
    "reshape",
    "broadcast_to",
    "compiled",
];

fn values(data: &Data) -> Vec<f32> {
    Array::from_data(data.clone()).to_vec::<f32>()
}

fn one<P: Primitive>(primitive: P, inputs: &[Array]) -> Array {
    Array::from_primitive(Arc::new(primitive), inputs).unwrap().remove(0)
}

/// `3 Σᵢ xᵢ`, elementwise over inputs of one shape, under any name; its derivative in each input is 3.
struct Thrice(&'static str);

impl Primitive for Thrice {
    fn name(&self) -> &'static str {
        self.0
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        Ok(Avals::from_iter([inputs[0].aval().clone()]))
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Linear(self)
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        let inputs = (0..batch.inputs.len()).map(|i| batch.full(i)).collect::<Result<Vec<_>>>()?;
        batch.again(&inputs)
    }
    fn eval(&self, inputs: Values, _outs: &[Aval]) -> Result<Values> {
        let mut sum = vec![0.0; inputs[0].size()];
        for x in &inputs {
            sum.iter_mut().zip(values(x)).for_each(|(sum, x)| *sum += 3.0 * x);
        }
        Ok(Values::from_iter([Data::from_slice(&sum, inputs[0].shape())?]))
    }
}

impl Linear for Thrice {
    fn is_linear_in(&self, _i: usize) -> bool {
        true
    }
    fn transpose(&self, _i: usize, cts: &[Option<Array>], _x: &[Array]) -> Result<Option<Array>> {
        Ok(cts[0].as_ref().map(|ct| ct * 3.0))
    }
}

fn thrice(name: &'static str, inputs: &[Array]) -> Array {
    one(Thrice(name), inputs)
}

#[test]
fn a_name_that_is_taken_changes_nothing() {
    let a = Array::new([[1.0f32, 2.0], [3.0, 4.0]]);
    let b = Array::new([[0.5f32, -1.0], [2.0, 0.25]]);
    for name in TAKEN {
        // Among elementwise operations and beside the operation whose name it has.
        let mixed = |a: &Array, b: &Array, last: &dyn Fn(&[Array]) -> Array| {
            let made = [a * 2.0, (b + 1.0).square()];
            let both = last(&made);
            let joined = ops::concatenate(&made, 0);
            (&both * &both + &both).sum() + joined.sum() + a.matmul(&both).sum()
        };
        let by_hand = |x: &[Array]| (&x[0] + &x[1]) * 3.0;
        let named = |x: &[Array]| thrice(name, x);
        let expected = mixed(&a, &b, &by_hand).item::<f32>();
        assert_eq!(mixed(&a, &b, &named).item::<f32>(), expected, "{name}");

        let slope = |f: &dyn Fn(&[Array]) -> Array| {
            grad(|(a, b): &(Array, Array)| mixed(a, b, f))(&(a.clone(), b.clone())).unwrap()
        };
        let (found, expected) = (slope(&named), slope(&by_hand));
        assert_eq!(found.0.to_vec::<f32>(), expected.0.to_vec::<f32>(), "{name}");
        assert_eq!(found.1.to_vec::<f32>(), expected.1.to_vec::<f32>(), "{name}");

        let compiled = compile(|(a, b): &(Array, Array)| mixed(a, b, &named));
        let value = compiled(&(a.clone(), b.clone())).unwrap();
        assert_eq!(value.item::<f32>(), mixed(&a, &b, &by_hand).item::<f32>(), "{name}");
        let batched = vmap(|row: &Array| thrice(name, &[row.clone(), row * 2.0]))(&a).unwrap();
        assert_eq!(batched.to_vec::<f32>(), (&a * 9.0).to_vec::<f32>(), "{name}");
        let (_, tangent) = jvp(|x: &Array| thrice(name, std::slice::from_ref(x)), &a, &b).unwrap();
        assert_eq!(tangent.to_vec::<f32>(), (&b * 3.0).to_vec::<f32>(), "{name}");
    }
}

/// Between a matrix and products that share it, where reverse mode collects products: the built-in transpose hands
/// them through, one of that name does not.
#[test]
fn products_behind_a_matrix_keep_their_derivative() {
    let w = Array::new([[1.0f32, 2.0], [3.0, 4.0]]);
    let x = Array::new([[0.5f32, -1.0], [2.0, 0.25]]);
    for name in TAKEN {
        let through = |f: &dyn Fn(&Array) -> Array| {
            grad(|w: &Array| {
                let m = f(w);
                (x.matmul(&m).matmul(&m) + x.matmul(&m)).sum()
            })(&w)
            .unwrap()
        };
        let found = through(&|w| thrice(name, std::slice::from_ref(w)));
        let expected = through(&|w| w * 3.0);
        assert_eq!(found.to_vec::<f32>(), expected.to_vec::<f32>(), "{name}");
    }
}

/// What a primitive gives of itself decides whether plans are shared, and nothing it leaves out can be mistaken.
struct Scale {
    factor: f32,
}

impl Primitive for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        Ok(Avals::from_iter([inputs[0].aval().clone()]))
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Structured(self)
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        batch.again(batch.inputs)
    }
    fn eval(&self, inputs: Values, _outs: &[Aval]) -> Result<Values> {
        let y: Vec<f32> = values(&inputs[0]).iter().map(|x| x * self.factor).collect();
        Ok(Values::from_iter([Data::from_slice(&y, inputs[0].shape())?]))
    }
}

impl Structured for Scale {
    fn jvp(&self, tangents: &[Option<Array>], _x: &[Array], _y: &[Array]) -> Result<Vec<Option<Array>>> {
        Ok(vec![tangents[0].as_ref().map(|t| t * f64::from(self.factor))])
    }
}

fn scale(factor: f32, x: &Array) -> Array {
    one(Scale { factor }, std::slice::from_ref(x))
}

#[test]
fn a_primitive_with_state_that_gives_no_parameters_is_its_own_key() {
    let x = Array::new([1.0f32, 2.0]);
    // One after the other: each is gone before the next is made, so that addresses are used again.
    for k in 1..200 {
        let k = k as f32;
        assert_eq!(scale(k, &x).to_vec::<f32>(), [k, 2.0 * k]);
        let slope = grad(|x: &Array| scale(k, x).sum())(&x).unwrap();
        assert_eq!(slope.to_vec::<f32>(), [k, k]);
    }
    // Within one graph.
    let both = scale(2.0, &x) + scale(3.0, &x);
    assert_eq!(both.to_vec::<f32>(), [5.0, 10.0]);
    // In compiled functions that differ in nothing else, and with the one that a capture changes between calls.
    let doubled = compile(|x: &Array| scale(2.0, x));
    let tripled = compile(|x: &Array| scale(3.0, x));
    assert_eq!(doubled(&x).unwrap().to_vec::<f32>(), [2.0, 4.0]);
    assert_eq!(tripled(&x).unwrap().to_vec::<f32>(), [3.0, 6.0]);
    assert_eq!((doubled(&x).unwrap() + tripled(&x).unwrap()).to_vec::<f32>(), [5.0, 10.0]);
}

/// The same through a view, which a plan takes in and does not call.
struct Column(isize);

impl Primitive for Column {
    fn name(&self) -> &'static str {
        "column"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        Ok(Avals::from_iter([Aval::new(inputs[0].dtype(), &inputs[0].shape()[..1])]))
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::None("columns of this test have none")
    }
    fn batch(&self, _batch: &Batch<'_>) -> Result<Vec<Array>> {
        unreachable!("the test batches no columns")
    }
    fn lower(&self, _inputs: &[Array]) -> covector_core::primitive::Lower<'_> {
        covector_core::primitive::Lower::View(self)
    }
}

impl covector_core::primitive::View for Column {
    fn view(
        &self,
        _shape: &[usize],
        strides: &[isize],
        _out: &[usize],
    ) -> Option<(isize, covector_core::shape::Strides)> {
        Some((self.0 * strides[1], covector_core::shape::Strides::from_slice(&strides[..1])))
    }
}

#[test]
fn a_view_with_state_is_its_own_key_for_as_long_as_its_plan_is_kept() {
    let x = Array::new([[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    for k in (0..300).map(|k| k % 3) {
        let y = one(Column(k), std::slice::from_ref(&x)) + 0.0;
        assert_eq!(y.to_vec::<f32>(), [1.0 + k as f32, 4.0 + k as f32]);
    }
}

/// Types of one name and equal parameters, in modules of their own.
macro_rules! constant {
    ($module:ident, $value:expr, $params:expr) => {
        mod $module {
            use super::*;

            pub(super) struct Constant;

            impl Primitive for Constant {
                fn name(&self) -> &'static str {
                    "constant"
                }
                fn infer(&self, inputs: &[Array]) -> Result<Avals> {
                    Ok(Avals::from_iter([inputs[0].aval().clone()]))
                }
                fn derivative(&self) -> Derivative<'_> {
                    Derivative::Zero
                }
                fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
                    batch.again(batch.inputs)
                }
                fn eval(&self, inputs: Values, _outs: &[Aval]) -> Result<Values> {
                    let y = vec![$value; inputs[0].size()];
                    Ok(Values::from_iter([Data::from_slice(&y, inputs[0].shape())?]))
                }
                fn params(&self, params: &mut Params<'_>) {
                    $params.iter().for_each(|&p| params.put("p", p));
                }
            }
        }
    };
}
constant!(first, 1.0f32, [Param::Int(2), Param::Int(7)]);
constant!(second, 2.0f32, [Param::Int(2), Param::Int(7)]);
constant!(third, 3.0f32, [Param::Ints(&[7, 0])]);

#[test]
fn types_of_one_name_are_different_primitives() {
    let x = Array::new([0.0f32, 0.0]);
    let made = |k: usize| match k {
        0 => one(first::Constant, std::slice::from_ref(&x)),
        1 => one(second::Constant, std::slice::from_ref(&x)),
        _ => one(third::Constant, std::slice::from_ref(&x)),
    };
    for k in [0, 1, 2, 0, 1, 2] {
        assert_eq!(made(k).to_vec::<f32>(), [k as f32 + 1.0; 2]);
    }
    let all = made(0) + made(1) * 10.0 + made(2) * 100.0;
    assert_eq!(all.to_vec::<f32>(), [321.0, 321.0]);
}

/// Parameters whose words read the same one behind the other, in one type.
struct Listed(&'static [Param<'static>], f32);

impl Primitive for Listed {
    fn name(&self) -> &'static str {
        "listed"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        Ok(Avals::from_iter([inputs[0].aval().clone()]))
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Zero
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        batch.again(batch.inputs)
    }
    fn eval(&self, inputs: Values, _outs: &[Aval]) -> Result<Values> {
        Ok(Values::from_iter([Data::from_slice(&vec![self.1; inputs[0].size()], inputs[0].shape())?]))
    }
    fn params(&self, params: &mut Params<'_>) {
        self.0.iter().for_each(|&p| params.put("p", p));
    }
}

#[test]
fn parameters_are_told_apart_by_kind_and_length() {
    static LISTS: [&[Param<'static>]; 9] = [
        &[Param::Int(2), Param::Int(5), Param::Int(6)],
        &[Param::Ints(&[5, 6])],
        &[Param::Signed(&[5, 6])],
        &[Param::Ints(&[5]), Param::Int(6)],
        &[Param::Ints(&[]), Param::Ints(&[5, 6])],
        &[Param::Text("ab")],
        &[Param::Ints(&[97, 98])],
        &[Param::Int(0x3ff0_0000_0000_0000)],
        &[Param::Float(1.0)],
    ];
    let x = Array::new([0.0f32]);
    for _ in 0..2 {
        for (k, &list) in LISTS.iter().enumerate() {
            let y = one(Listed(list, k as f32), std::slice::from_ref(&x));
            eval(std::slice::from_ref(&y)).unwrap();
            assert_eq!(y.to_vec::<f32>(), [k as f32], "{list:?}");
        }
    }
}

/// The library's own primitives say all that their results depend on: none of them is keyed by an address, which would
/// plan anew what is made anew in each turn of a loop.
#[test]
fn no_built_in_primitive_is_keyed_by_its_address() {
    for entry in covector_core::catalog::entries() {
        let x: Vec<Array> = entry.inputs.iter().map(|x| x.sample(1, covector_core::Dtype::F32)).collect();
        let outs = (entry.run)(&x).unwrap();
        let text = covector_core::graph_text(&outs);
        assert!(!text.contains("self=#"), "{}: {text}", entry.name);
    }
}
