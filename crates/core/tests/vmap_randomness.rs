//! Random numbers without a key under `vmap`: shared, of each example's own, or refused.

use covector_core::random::{self, normal, seed};
use covector_core::transforms::{Randomness, Vmap, compile, grad, vmap_with};
use covector_core::{Array, Dtype, Result};

fn draw() -> Result<Array> {
    normal(&[3], Dtype::F32, 0.0, 1.0, None)
}

fn noisy(x: &Array) -> Result<Array> {
    Ok(x + &draw()?)
}

fn of(randomness: Randomness) -> Vmap {
    Vmap { randomness, ..Vmap::default() }
}

fn rows(x: &Array) -> Vec<Vec<f32>> {
    x.to_vec::<f32>().chunks(3).map(<[f32]>::to_vec).collect()
}

fn distinct(x: &Array) -> usize {
    let mut rows: Vec<Vec<u32>> = rows(x).iter().map(|r| r.iter().map(|v| v.to_bits()).collect()).collect();
    rows.sort();
    rows.dedup();
    rows.len()
}

fn zeros() -> Array {
    Array::from_slice(&[0.0f32; 12], &[4, 3]).unwrap()
}

#[test]
fn by_default_all_examples_share_a_draw() {
    seed(1);
    let shared = vmap_with(noisy, Vmap::default())(&zeros()).unwrap();
    seed(1);
    let once = draw().unwrap();
    assert!(rows(&shared).iter().all(|r| *r == once.to_vec::<f32>()));
}

#[test]
fn each_example_draws_from_a_key_of_its_own() {
    seed(1);
    let own = vmap_with(noisy, of(Randomness::Different))(&zeros()).unwrap();
    assert_eq!(distinct(&own), 4);
    seed(1);
    let again = vmap_with(noisy, of(Randomness::Different))(&zeros()).unwrap();
    assert_eq!(own.to_vec::<f32>(), again.to_vec::<f32>());
    // The generator moves on as after one draw, and the next draw is another one.
    let next = vmap_with(noisy, of(Randomness::Different))(&zeros()).unwrap();
    assert_eq!(
        distinct(&Array::from_slice(&[own.to_vec::<f32>(), next.to_vec::<f32>()].concat(), &[8, 3]).unwrap()),
        8
    );
    seed(1);
    draw().unwrap();
    draw().unwrap();
    let third = draw().unwrap().to_vec::<f32>();
    seed(1);
    vmap_with(noisy, of(Randomness::Different))(&zeros()).unwrap();
    vmap_with(noisy, of(Randomness::Different))(&zeros()).unwrap();
    assert_eq!(draw().unwrap().to_vec::<f32>(), third);
}

#[test]
fn two_draws_in_one_example_differ() {
    let two = |x: &Array| -> Result<Array> { Ok(x + &(draw()? - draw()?)) };
    let out = vmap_with(two, of(Randomness::Different))(&zeros()).unwrap();
    assert_eq!(distinct(&out), 4);
    assert!(out.to_vec::<f32>().iter().all(|v| *v != 0.0));
}

#[test]
fn nested_maps_draw_for_every_pair() {
    let x = Array::from_slice(&[0.0f32; 24], &[2, 4, 3]).unwrap();
    let inner = |x: &Array| vmap_with(noisy, of(Randomness::Different))(x);
    let own = vmap_with(inner, of(Randomness::Different))(&x).unwrap();
    assert_eq!(distinct(&own), 8);
    let inner = |x: &Array| vmap_with(noisy, of(Randomness::Same))(x);
    let rows_differ = vmap_with(inner, of(Randomness::Different))(&x).unwrap();
    assert_eq!(distinct(&rows_differ), 2);
    let inner = |x: &Array| vmap_with(noisy, of(Randomness::Different))(x);
    let columns_differ = vmap_with(inner, of(Randomness::Same))(&x).unwrap();
    assert_eq!(distinct(&columns_differ), 4);
}

#[test]
fn under_compile_every_call_draws_anew_and_as_without() {
    let f = vmap_with(noisy, of(Randomness::Different));
    let compiled = compile(|x: &Array| f(x));
    seed(3);
    let (a, b) = (compiled(&zeros()).unwrap(), compiled(&zeros()).unwrap());
    seed(3);
    let (c, d) = (f(&zeros()).unwrap(), f(&zeros()).unwrap());
    assert_eq!(a.to_vec::<f32>(), c.to_vec::<f32>());
    assert_eq!(b.to_vec::<f32>(), d.to_vec::<f32>());
    assert_ne!(a.to_vec::<f32>(), b.to_vec::<f32>());
    // A compiled function inside draws for each example, too.
    let inner = compile(noisy);
    let own = vmap_with(|x: &Array| inner(x), of(Randomness::Different))(&zeros()).unwrap();
    assert_eq!(distinct(&own), 4);
}

#[test]
fn gradients_pass_by_the_draws() {
    let loss = |x: &Array| -> Array { (x * &noisy(x).unwrap()).sum() };
    seed(5);
    let grads = vmap_with(grad(loss), of(Randomness::Different))(&zeros()).unwrap();
    seed(5);
    let noise = vmap_with(noisy, of(Randomness::Different))(&zeros()).unwrap();
    assert_eq!(grads.to_vec::<f32>(), noise.to_vec::<f32>());
}

#[test]
fn a_draw_may_be_an_error() {
    let failure = vmap_with(noisy, of(Randomness::Error))(&zeros()).unwrap_err().to_string();
    assert!(failure.starts_with("[vmap]") && failure.contains("key"), "{failure}");
    let compiled = compile(noisy);
    assert!(vmap_with(|x: &Array| compiled(x), of(Randomness::Error))(&zeros()).is_err());
    // Outside of it nothing is refused afterwards, and numbers with a key never are.
    draw().unwrap();
    let keys = random::split(&random::key(0), 4).unwrap();
    let keyed = |key: &Array| normal(&[3], Dtype::F32, 0.0, 1.0, Some(key));
    let own = vmap_with(keyed, of(Randomness::Error))(&keys).unwrap();
    assert_eq!(distinct(&own), 4);
}

#[test]
fn the_state_inside_is_the_threads() {
    let f = |x: &Array| -> Result<Array> {
        seed(9);
        noisy(x)
    };
    for randomness in [Randomness::Same, Randomness::Different, Randomness::Error] {
        seed(1);
        let out = vmap_with(f, of(randomness))(&zeros()).unwrap();
        assert_eq!(distinct(&out), 1, "the function has chosen the key of all");
        let after = draw().unwrap().to_vec::<f32>();
        seed(9);
        draw().unwrap();
        assert_eq!(draw().unwrap().to_vec::<f32>(), after, "{randomness:?}");
    }
    let own_state = |x: &Array| -> Result<Array> {
        random::set_state(&normal(&[2], Dtype::F32, 0.0, 1.0, None)?.try_astype(Dtype::U32)?)?;
        Ok(x.clone())
    };
    let failure = vmap_with(own_state, of(Randomness::Different))(&zeros()).unwrap_err().to_string();
    assert!(failure.contains("one state"), "{failure}");
    draw().unwrap();
}
