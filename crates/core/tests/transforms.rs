//! What the contract promises of the typed transforms.

use covector_core::transforms::{
    CustomFunction, checkpoint, grad, jvp, value_and_grad, vjp, vmap, vmap_axes, vmap_flat,
};
use covector_core::{Array, C64, Dtype, Error, Tree, eval, ops};
use std::collections::BTreeMap;
use std::sync::Arc;

fn scalar(x: f64) -> Array {
    Array::scalar(x)
}

#[test]
fn gradients_have_the_arguments_structure() {
    let params: (Array, BTreeMap<&'static str, Vec<Array>>, Option<Array>) =
        (scalar(2.0), BTreeMap::from([("a", vec![scalar(3.0), scalar(4.0)]), ("b", vec![])]), None);
    let loss = |(x, map, _): &(Array, BTreeMap<&'static str, Vec<Array>>, Option<Array>)| {
        x * &map["a"][0] * &map["a"][1]
    };
    let (value, (dx, dmap, none)) = value_and_grad(loss)(&params).unwrap();
    assert_eq!(value.item::<f64>(), 24.0);
    assert_eq!(dx.item::<f64>(), 12.0);
    assert_eq!(dmap["a"][0].item::<f64>(), 8.0);
    assert_eq!(dmap["a"][1].item::<f64>(), 6.0);
    assert!(dmap["b"].is_empty() && none.is_none());
}

#[test]
fn aux_outputs_come_back_real_and_usable() {
    let f = |x: &Array| {
        let y = x * x;
        (y.sum(), y.clone(), "anything", 7usize)
    };
    let x = Array::new([1.0f32, 2.0]);
    let ((loss, y, word, n), g) = value_and_grad(f)(&x).unwrap();
    assert_eq!((loss.item::<f32>(), word, n), (5.0, "anything", 7));
    assert_eq!((&y + 1.0).to_vec::<f32>(), [2.0, 5.0]);
    assert!(!y.is_tracer());
    assert_eq!(g.to_vec::<f32>(), [2.0, 4.0]);
}

#[test]
fn unused_arguments_get_zeros_of_their_shape_and_type() {
    let params = (scalar(1.0), ops::ones(&[2, 3], Dtype::F16));
    let (_, unused) = grad(|p: &(Array, Array)| p.0.clone())(&params).unwrap();
    assert_eq!(unused.aval(), params.1.aval());
    assert_eq!(ops::astype(&unused, Dtype::F32).to_vec::<f32>(), [0.0; 6]);
}

#[test]
fn a_loss_that_is_no_real_scalar_is_refused_with_the_remedy() {
    let x = Array::new([1.0f32, 2.0]);
    let error = grad(|x: &Array| x * 2.0)(&x).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }));
    let text = error.to_string();
    assert!(text.contains("(2,)") && text.contains(".mean()") && text.contains("jacrev"), "{text}");
    let error = grad(|x: &Array| ops::reshape(x, &[2, 1]).sum_axes(&[0], false))(&x).unwrap_err();
    assert!(error.to_string().contains("(1,)"), "{error}");
    let error = grad(|x: &Array| x.sum().astype(Dtype::I32))(&x).unwrap_err();
    assert!(error.to_string().contains("int32"), "{error}");
}

#[test]
fn an_integer_leaf_is_named_by_its_path() {
    let params = (scalar(1.0), vec![scalar(1.0), Array::new([1i32, 2])]);
    let error = grad(|p: &(Array, Vec<Array>)| p.0.clone())(&params).unwrap_err();
    assert!(matches!(error, Error::Type { .. }));
    assert!(error.to_string().contains("[1][1] is int32"), "{error}");
}

#[test]
fn closures_capture_constants_and_outer_tracers() {
    // d/dx [ x · d/dy (x + y) ] = 1: perturbations must not be confused (Siskind and Pearlmutter, 2005).
    let outer = grad(|x: &Array| {
        let inner = grad(|y: &Array| x + y)(&scalar(1.0)).unwrap();
        x * inner
    });
    assert_eq!(outer(&scalar(1.0)).unwrap().item::<f64>(), 1.0);
    // d/dx [ x · d/dy (x y²) ] at y = 3 is d/dx [6 x²] = 12 x.
    let outer = grad(|x: &Array| x * grad(|y: &Array| x * y * y)(&scalar(3.0)).unwrap());
    assert_eq!(outer(&scalar(2.0)).unwrap().item::<f64>(), 24.0);
    // The same forward over forward.
    let (_, t) = jvp(
        |x: &Array| {
            let (_, inner) = jvp(|y: &Array| x * y, &scalar(1.0), &scalar(1.0))?;
            Ok::<Array, Error>(x * inner)
        },
        &scalar(5.0),
        &scalar(1.0),
    )
    .unwrap();
    assert_eq!(t.item::<f64>(), 10.0);
}

#[test]
fn derivatives_of_any_order() {
    let mut f: Box<dyn Fn(&Array) -> covector_core::Result<Array>> = Box::new(|x: &Array| Ok(x.sin()));
    for order in 1..=6 {
        f = Box::new(grad(f));
        let found = f(&scalar(0.7)).unwrap().item::<f64>();
        let due = (0.7 + f64::from(order) * std::f64::consts::FRAC_PI_2).sin();
        assert!((found - due).abs() < 1e-12, "order {order}: {found} against {due}");
    }
}

#[test]
fn reading_a_value_never_cuts_a_derivative() {
    let f = |x: &Array| {
        let y = x * x;
        // Reads inside of every level.
        if y.item::<f64>() > 0.0 { y.clone() * x } else { y.clone() }
    };
    assert_eq!(grad(f)(&scalar(2.0)).unwrap().item::<f64>(), 12.0);
    assert_eq!(grad(grad(f))(&scalar(2.0)).unwrap().item::<f64>(), 12.0);
    let nested = |x: &Array| {
        let g = grad(|y: &Array| {
            let z = x * y;
            eval(std::slice::from_ref(&z)).unwrap();
            &z * &z
        })(x)
        .unwrap();
        assert!(g.item::<f64>() > 0.0);
        g
    };
    // g(x) = d/dy (x y)² at y = x: 2 x³, so g' = 6 x².
    assert_eq!(grad(nested)(&scalar(2.0)).unwrap().item::<f64>(), 24.0);
    let (value, tangent) = jvp(f, &scalar(2.0), &scalar(1.0)).unwrap();
    assert_eq!((value.item::<f64>(), tangent.item::<f64>()), (8.0, 12.0));
}

#[test]
fn reading_a_value_under_vmap_says_what_to_do() {
    let f = |x: &Array| -> covector_core::Result<Array> {
        x.try_item::<f32>()?;
        Ok(x.clone())
    };
    let error = vmap(f)(&Array::new([1.0f32, 2.0])).unwrap_err();
    assert!(matches!(error, Error::NoValue { .. }));
    assert!(error.to_string().contains("where"), "{error}");
    // What is not mapped has a value.
    let y = Array::scalar(3.0f32);
    let found = vmap(|x: &Array| x * f64::from(y.item::<f32>()))(&Array::new([1.0f32, 2.0])).unwrap();
    assert_eq!(found.to_vec::<f32>(), [3.0, 6.0]);
}

#[test]
fn vmap_takes_and_gives_any_axes() {
    let m = Array::new([[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    let v = Array::new([1.0f32, 10.0]);
    let f = |(column, v): &(Array, Array)| (column * v).sum();
    let found = vmap_axes(f, [Some(1), None], 0)(&(m.clone(), v.clone())).unwrap();
    assert_eq!(found.to_vec::<f32>(), [41.0, 52.0, 63.0]);
    let found = vmap_axes(|row: &Array| row * 2.0, 0, 1)(&m).unwrap();
    assert_eq!(found.shape(), [3, 2]);
    assert_eq!(found.to_vec::<f32>(), [2.0, 8.0, 4.0, 10.0, 6.0, 12.0]);
    // An output that does not depend on the batch is repeated, unless its axis is None.
    let found = vmap_axes(|_: &Array| v.clone(), 0, 0)(&m).unwrap();
    assert_eq!(found.shape(), [2, 2]);
    assert_eq!(vmap_axes(|_: &Array| v.clone(), 0, None)(&m).unwrap().shape(), [2]);
    assert!(vmap_axes(|x: &Array| x.clone(), 0, None)(&m).is_err());
}

#[test]
fn vmap_refuses_what_does_not_fit() {
    let pair = (Array::new([1.0f32, 2.0]), Array::new([1.0f32, 2.0, 3.0]));
    let error = vmap(|(a, b): &(Array, Array)| a + b)(&pair).unwrap_err();
    assert!(error.to_string().contains("extent 2") && error.to_string().contains("extent 3"), "{error}");
    let error = vmap_axes(|x: &Array| x.clone(), 1, 0)(&pair.0).unwrap_err();
    assert!(matches!(error, Error::Axis { .. }), "{error}");
    let error = vmap_axes(|x: &Array| x.clone(), None, 0)(&pair.0).unwrap_err();
    assert!(error.to_string().contains("at least one"), "{error}");
}

#[test]
fn transforms_nest_in_any_order() {
    let x = Array::new([0.3f64, 0.5, 0.9]);
    let f = |x: &Array| x.sin() * x;
    let due: Vec<f64> = x.to_vec::<f64>().iter().map(|x| 2.0 * x.cos() - x * x.sin()).collect();
    let close = |found: Array| {
        for (a, b) in found.to_vec::<f64>().iter().zip(&due) {
            assert!((a - b).abs() < 1e-12, "{a} against {b}");
        }
    };
    close(vmap(grad(grad(f)))(&x).unwrap());
    close(vmap(vmap(grad(grad(f))))(&ops::reshape(&x, &[3, 1])).unwrap().squeeze(&[1]));
    let sum = |x: &Array| vmap(f)(x).unwrap().sum();
    let ones = Array::new([1.0f64; 3]);
    // The Hessian is diagonal: its product with ones is the second derivative.
    let (_, forward) = jvp(|x: &Array| grad(sum)(x), &x, &ones).unwrap();
    close(forward);
    let (_, back) = vjp(|x: &Array| grad(sum)(x), &x).unwrap();
    close(back(&ones).unwrap());
    let pushed = grad(|x: &Array| jvp(sum, x, &ones).unwrap().1);
    close(pushed(&x).unwrap());
}

#[test]
fn cotangents_and_tangents_must_match() {
    let x = Array::new([1.0f32, 2.0]);
    let (_, back) = vjp(|x: &Array| x * 2.0, &x).unwrap();
    assert!(matches!(back(&Array::new([1.0f32])), Err(Error::Shape { .. })));
    assert!(matches!(back(&Array::new([1.0f64, 2.0])), Err(Error::Dtype { .. })));
    assert_eq!(back(&x).unwrap().to_vec::<f32>(), [2.0, 4.0]);
    assert!(matches!(jvp(|x: &Array| x * 2.0, &x, &Array::new([1.0f32])), Err(Error::Shape { .. })));
}

#[test]
fn an_error_inside_passes_through_and_leaves_everything_usable() {
    #[derive(Debug, thiserror::Error)]
    #[error("mine")]
    struct Mine;
    let f = |_: &Array| -> covector_core::Result<Array> { Err(Error::external(Mine)) };
    let Err(Error::External(inner)) = grad(f)(&scalar(1.0)) else { panic!("another error") };
    assert!(inner.downcast_ref::<Mine>().is_some());
    let panicking = std::panic::catch_unwind(|| grad(|x: &Array| x.reshape(&[7]))(&scalar(1.0)));
    assert!(panicking.is_err());
    assert!(!covector_core::is_tracing());
    assert_eq!(grad(|x: &Array| x * x)(&scalar(3.0)).unwrap().item::<f64>(), 6.0);
}

#[test]
fn stop_gradient_stops_and_argmax_is_silent() {
    let g = grad(|x: &Array| x * x.stop_gradient())(&scalar(3.0)).unwrap();
    assert_eq!(g.item::<f64>(), 3.0);
    let x = Array::new([1.0f64, 5.0, 2.0]);
    let g = grad(|x: &Array| ops::take(x, &x.argmax(), 0))(&x).unwrap();
    assert_eq!(g.to_vec::<f64>(), [0.0, 1.0, 0.0]);
}

#[test]
fn ties_and_zeros_have_the_documented_gradients() {
    let g = grad(|x: &Array| x.max())(&Array::new([2.0f64, 2.0, 1.0])).unwrap();
    assert_eq!(g.to_vec::<f64>(), [0.5, 0.5, 0.0]);
    let g = grad(|x: &Array| x.prod())(&Array::new([2.0f64, 0.0, 3.0])).unwrap();
    assert_eq!(g.to_vec::<f64>(), [0.0, 6.0, 0.0]);
    // Two zeros: the first derivative vanishes, the mixed second one does not.
    let h = grad(|x: &Array| {
        let g = grad(|x: &Array| x.prod())(x).unwrap();
        ops::take(&g, &Array::scalar(0i32), 0)
    })(&Array::new([0.0f64, 0.0, 3.0]))
    .unwrap();
    assert_eq!(h.to_vec::<f64>(), [0.0, 3.0, 0.0]);
    let g = grad(|x: &Array| x.relu_like())(&scalar(0.0)).unwrap();
    assert_eq!(g.item::<f64>(), 0.0);
}

trait Relu {
    fn relu_like(&self) -> Array;
}

impl Relu for Array {
    fn relu_like(&self) -> Array {
        self.maximum(&ops::constant_like(self, 0.0))
    }
}

#[test]
fn complex_gradients_point_uphill() {
    use covector_core::C64;
    let z = Array::scalar(C64::new(1.0, 2.0));
    // |z|² has the gradient 2 z, Re z² the gradient 2 conj z.
    let g = grad(|z: &Array| ops::square(&ops::abs(z)))(&z).unwrap().item::<C64>();
    assert!((g - C64::new(2.0, 4.0)).norm() < 1e-5);
    let g = grad(|z: &Array| ops::real(&(z * z)))(&z).unwrap().item::<C64>();
    assert!((g - C64::new(2.0, -4.0)).norm() < 1e-5);
    let g = grad(|z: &Array| ops::imag(z))(&z).unwrap().item::<C64>();
    assert!((g - C64::new(0.0, 1.0)).norm() < 1e-6);
}

#[test]
fn custom_rules_are_used_by_every_transform() {
    let rule = CustomFunction {
        vjp: Some(Arc::new(|x, ct, _| Ok(vec![&ct[0] * 10.0 * &x[0]]))),
        ..Default::default()
    };
    let f = |x: &Array| rule.call(std::slice::from_ref(x), |x| Ok(vec![x[0].sin()])).map(|mut y| y.remove(0));
    assert_eq!(grad(f)(&scalar(2.0)).unwrap().item::<f64>(), 20.0);
    assert_eq!(grad(grad(f))(&scalar(2.0)).unwrap().item::<f64>(), 10.0);
    // Forward mode comes from the vjp by transposition.
    let (_, t) = jvp(f, &scalar(2.0), &scalar(3.0)).unwrap();
    assert_eq!(t.item::<f64>(), 60.0);
    let x = Array::new([1.0f64, 2.0]);
    assert_eq!(vmap(grad(f))(&x).unwrap().to_vec::<f64>(), [10.0, 20.0]);
    let sum = grad(|x: &Array| vmap(f)(x).unwrap().sum());
    assert_eq!(sum(&x).unwrap().to_vec::<f64>(), [10.0, 20.0]);
}

#[test]
fn a_custom_function_does_not_lose_the_gradient_of_what_it_captures() {
    let rule =
        CustomFunction { vjp: Some(Arc::new(|_, ct, _| Ok(vec![ct[0].clone()]))), ..Default::default() };
    let captured = |w: &Array| {
        let x = scalar(1.0);
        rule.call(std::slice::from_ref(&x), |x| Ok(vec![&x[0] * w])).map(|mut y| y.remove(0))
    };
    let error = grad(captured)(&scalar(2.0)).unwrap_err();
    assert!(error.to_string().contains("pass it as an argument"), "{error}");
    let plain = CustomFunction::default();
    let open = |w: &Array| {
        let x = scalar(3.0);
        plain.call(std::slice::from_ref(&x), |x| Ok(vec![&x[0] * w])).map(|mut y| y.remove(0))
    };
    assert_eq!(grad(open)(&scalar(2.0)).unwrap().item::<f64>(), 3.0);
}

#[test]
fn checkpoint_takes_broadcast_arguments() {
    // What is recomputed passes through a barrier, which hands a broadcast argument through as it lies.
    let x = ops::broadcast_to(&scalar(1.0), &[4, 2]);
    let again = |w: &Array| {
        checkpoint(&[w.clone(), x.clone()], |a| Ok(vec![a[1].matmul(&a[0]).sum()])).map(|mut y| y.remove(0))
    };
    let w = Array::new([[1.0f64], [2.0]]);
    assert_eq!(grad(again)(&w).unwrap().to_vec::<f64>(), [4.0, 4.0]);
}

#[test]
fn checkpoint_differentiates_what_it_captures() {
    let f = |w: &Array| {
        let x = scalar(3.0);
        checkpoint(std::slice::from_ref(&x), |x| Ok(vec![(&x[0] * w).sin()])).map(|mut y| y.remove(0))
    };
    let g = grad(f)(&scalar(0.5)).unwrap().item::<f64>();
    assert!((g - 3.0 * 1.5f64.cos()).abs() < 1e-12);
    let h = grad(grad(f))(&scalar(0.5)).unwrap().item::<f64>();
    assert!((h + 9.0 * 1.5f64.sin()).abs() < 1e-12);
}

#[test]
fn arrays_are_shared_between_threads() {
    let x = Array::new([1.0f64, 2.0]);
    let pending = (&x * 3.0).sin().sum();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (x, pending) = (x.clone(), pending.clone());
            std::thread::spawn(move || {
                let g = grad(|x: &Array| (x * x).sum())(&x).unwrap().to_vec::<f64>();
                (g, pending.item::<f64>())
            })
        })
        .collect();
    for thread in threads {
        let (g, value) = thread.join().unwrap();
        assert_eq!(g, [2.0, 4.0]);
        assert_eq!(value, 3.0f64.sin() + 6.0f64.sin());
    }
}

#[test]
fn a_function_may_return_the_same_array_twice_or_its_argument() {
    let (y, back) = vjp(|x: &Array| (x.clone(), x.clone()), &scalar(2.0)).unwrap();
    assert_eq!(y.leaves().len(), 2);
    assert_eq!(back(&(scalar(1.0), scalar(10.0))).unwrap().item::<f64>(), 11.0);
    let out = vmap_flat(&[Array::new([1.0f32, 2.0])], &[Some(0)], |x| Ok(x.to_vec())).unwrap();
    assert_eq!(out.at_axes(&[Some(0)]).unwrap()[0].to_vec::<f32>(), [1.0, 2.0]);
}

#[test]
fn jacobians_agree_and_have_the_outputs_axes_in_front() {
    use covector_core::transforms::{hessian, hvp, jacfwd, jacrev, linearize, value_and_jac};
    let p = (Array::new([0.3f64, 0.7]), Array::new([[1.0f64, 2.0], [3.0, 4.0], [5.0, 6.0]]));
    let f = |(x, w): &(Array, Array)| w.matmul(x).sin();
    let (value, back) = value_and_jac(f)(&p).unwrap();
    let forward = jacfwd(f)(&p).unwrap();
    assert_eq!(value.shape(), [3]);
    assert_eq!((back.0.shape(), back.1.shape()), (&[3, 2][..], &[3, 3, 2][..]));
    for (a, b) in back.leaves().iter().zip(forward.leaves()) {
        assert!(ops::allclose(a, &b, 1e-12, 1e-12, false).item::<bool>());
    }
    assert!(ops::allclose(&jacrev(f)(&p).unwrap().0, &back.0, 0.0, 0.0, false).item::<bool>());
    let x = Array::new([0.3f64, 0.7, 1.1]);
    let cubes = |x: &Array| (x * x * x).sum();
    let h = hessian(cubes)(&x).unwrap();
    let v = Array::new([1.0f64, -1.0, 2.0]);
    let product = hvp(cubes, &x, &v).unwrap();
    assert!(ops::allclose(&product, &h.matmul(&v), 1e-12, 1e-12, false).item::<bool>());
    assert!(ops::allclose(&product, &(&x * &v * 6.0), 1e-12, 1e-12, false).item::<bool>());
    let (y, map) = linearize(|x: &Array| x.sin(), &x).unwrap();
    assert_eq!(y.shape(), [3]);
    assert!(ops::allclose(&map(&v).unwrap(), &(x.cos() * &v), 1e-12, 1e-12, false).item::<bool>());
    assert!(map(&Array::new([1.0f64])).is_err());
}

#[test]
fn complex_jacobians_agree_in_both_modes_and_mixed_ones_are_refused() {
    use covector_core::transforms::{jacfwd, jacrev};
    let z = Array::new([C64::new(1.0, 2.0), C64::new(3.0, -1.0)]);
    let f = |z: &Array| z * z * Array::scalar(C64::new(1.0, 1.0));
    let zero = C64::new(0.0, 0.0);
    let want = [C64::new(-2.0, 6.0), zero, zero, C64::new(8.0, 4.0)];
    for found in [jacrev(f)(&z).unwrap(), jacfwd(f)(&z).unwrap()] {
        assert_eq!((found.shape(), found.to_vec::<C64>()), (&[2, 2][..], want.to_vec()));
    }
    for found in [jacrev(|z: &Array| z.abs())(&z), jacfwd(|z: &Array| z.abs())(&z)] {
        let text = found.unwrap_err().to_string();
        assert!(text.contains("mixes real and complex"), "{text}");
    }
}

#[test]
fn check_grads_finds_a_wrong_rule() {
    use covector_core::transforms::check_grads;
    let x = Array::new([0.3f64, 0.7]);
    check_grads(|x: &Array| x.tanh().sum(), &x, 1e-6).unwrap();
    let wrong =
        CustomFunction { vjp: Some(Arc::new(|x, ct, _| Ok(vec![&ct[0] * &x[0]]))), ..Default::default() };
    let f = |x: &Array| wrong.call(std::slice::from_ref(x), |x| Ok(vec![x[0].tanh()])).map(|y| y[0].sum());
    let error = check_grads(f, &x, 1e-6).unwrap_err();
    assert!(error.to_string().contains("central differences"), "{error}");
    assert!(check_grads(|x: &Array| x.sum(), &Array::new([1.0f32]), 1e-6).is_err());
}
