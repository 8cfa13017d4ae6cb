//! Comparison of trees, and restoring of containers, for `compile`.

use super::fixed::Fixed;
use super::{Custom, Kind, Step, Tree, dataclass_fields};
use crate::array::PyArray;
use crate::stack;
use covector_core::Array;
use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyComplex, PyDict, PyFloat, PyList, PyString, PyTuple};
use smallvec::{SmallVec, smallvec};
use std::collections::HashSet;

/// Whether two values that are not arrays are the same for a compiled function: of one type and equal, numbers by their
/// bits.
pub(super) fn same_static(a: &Bound<'_, PyAny>, b: &Bound<'_, PyAny>) -> bool {
    if a.is(b) {
        return true;
    }
    if !a.get_type().is(b.get_type()) || a.is_instance_of::<PyArray>() {
        return false;
    }
    // So that 0.0 is not -0.0, and nan is nan.
    if let (Ok(a), Ok(b)) = (a.cast_exact::<PyFloat>(), b.cast_exact::<PyFloat>()) {
        return a.value().to_bits() == b.value().to_bits();
    }
    if let (Ok(a), Ok(b)) = (a.cast_exact::<PyComplex>(), b.cast_exact::<PyComplex>()) {
        let bits = |z: &Bound<'_, PyComplex>| (z.real().to_bits(), z.imag().to_bits());
        return bits(a) == bits(b);
    }
    // Decimal(1) == Decimal("1.0"), and 0 == -0.
    if a.is_instance_of::<PyFloat>() || a.get_type().name().is_ok_and(|name| name == "Decimal") {
        return matches!((a.repr(), b.repr()), (Ok(a), Ok(b)) if a.to_string() == b.to_string());
    }
    // Values that cannot be compared are not the same.
    a.eq(b).unwrap_or(false)
}

fn same_keys(py: Python<'_>, a: &[Py<PyAny>], b: &[Py<PyAny>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_static(a.bind(py), b.bind(py)))
}

/// The text of a value in messages.
fn shown(x: &Bound<'_, PyAny>) -> String {
    let text = x.repr().map_or_else(|_| super::a_thing(x), |text| text.to_string());
    if text.chars().count() <= 60 { text } else { text.chars().take(57).chain("...".chars()).collect() }
}

impl Custom {
    /// The container's values besides its children: attributes of an object, static fields of a dataclass.
    fn attributes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let template = self.template.bind(py);
        let out = PyDict::new(py);
        match self.kind {
            Kind::Tuple => {}
            Kind::Dataclass => {
                let fields = template.get_type().getattr("__dataclass_fields__")?.cast_into::<PyDict>()?;
                for name in fields.keys() {
                    if !self.keys.iter().any(|key| name.eq(key).unwrap_or(false))
                        && let Some(value) = template.getattr_opt(name.cast::<PyString>()?)?
                    {
                        out.set_item(name, value)?;
                    }
                }
            }
            Kind::List | Kind::Dict => {
                if let Some(own) = template.getattr_opt("__dict__")?
                    && let Ok(own) = own.cast::<PyDict>()
                {
                    return own.copy();
                }
            }
        }
        Ok(out)
    }

    fn class<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        let template = self.template.bind(py);
        if matches!(self.kind, Kind::Tuple) { template.clone() } else { template.get_type().into_any() }
    }

    /// Messages about the attributes that differ; none if all are the same. `fixed` holds the recorded attributes of this
    /// container, if they can change.
    fn differing(&self, py: Python<'_>, other: &Custom, fixed: Option<&[Fixed]>) -> PyResult<Vec<String>> {
        let (mine, theirs) = (self.attributes(py)?, other.attributes(py)?);
        let mut found = Vec::new();
        for (i, (name, a)) in mine.iter().enumerate() {
            match theirs.get_item(&name)? {
                Some(b) if fixed.map_or_else(|| same_static(&a, &b), |fixed| fixed[i].same(&b)) => {}
                Some(b) if a.is(&b) => found.push(format!(".{name}: a part of it has changed")),
                Some(b) => found.push(format!(".{name}: was {}, is {}", shown(&a), shown(&b))),
                None => found.push(format!(".{name}: was {}, is missing", shown(&a))),
            }
        }
        for (name, b) in theirs.iter() {
            if !mine.contains(&name)? {
                found.push(format!(".{name}: was missing, is {}", shown(&b)));
            }
        }
        Ok(found)
    }
}

impl Step {
    /// Whether both are containers of one kind with the same keys of children, or neither is a container.
    fn same_container(&self, py: Python<'_>, other: &Step) -> bool {
        match (self, other) {
            (Step::Array, Step::Array) | (Step::Static(_), Step::Static(_)) => true,
            (Step::List(a), Step::List(b)) | (Step::Tuple(a), Step::Tuple(b)) => a == b,
            (Step::Dict(a), Step::Dict(b)) => same_keys(py, a, b),
            (Step::Custom(a), Step::Custom(b)) => {
                a.len == b.len && a.class(py).is(b.class(py)) && same_keys(py, &a.keys, &b.keys)
            }
            _ => false,
        }
    }
}

impl Tree {
    /// Records the static values that can change. For trees that are kept and compared with other trees later.
    pub(crate) fn fix(&mut self, py: Python<'_>) -> PyResult<()> {
        let mut all = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let fixed = match step {
                Step::Static(value) => vec![Fixed::new(value.bind(py))?],
                Step::Custom(custom) => custom
                    .attributes(py)?
                    .values()
                    .iter()
                    .map(|value| Fixed::new(&value))
                    .collect::<PyResult<_>>()?,
                _ => Vec::new(),
            };
            all.push(if fixed.iter().all(Fixed::is_plain) { Vec::new() } else { fixed });
        }
        self.fixed = if all.iter().all(Vec::is_empty) { Vec::new() } else { all };
        Ok(())
    }

    /// The recorded static values of step `i`, if they can change.
    fn fixed(&self, i: usize) -> Option<&[Fixed]> {
        self.fixed.get(i).map(Vec::as_slice).filter(|fixed| !fixed.is_empty())
    }

    fn same_value(&self, i: usize, mine: &Bound<'_, PyAny>, other: &Bound<'_, PyAny>) -> bool {
        self.fixed(i).map_or_else(|| same_static(mine, other), |fixed| fixed[0].same(other))
    }

    /// Whether the trees are the same for a compiled function: the same containers, and equal values besides the arrays.
    pub(crate) fn same(&self, py: Python<'_>, other: &Tree) -> bool {
        self.steps.len() == other.steps.len()
            && self.steps.iter().zip(&other.steps).enumerate().all(|(i, (a, b))| {
                a.same_container(py, b)
                    && match (a, b) {
                        (Step::Static(a), Step::Static(b)) => self.same_value(i, a.bind(py), b.bind(py)),
                        (Step::Custom(a), Step::Custom(b)) => {
                            a.differing(py, b, self.fixed(i)).is_ok_and(|d| d.is_empty())
                        }
                        _ => true,
                    }
            })
    }

    /// [`Tree::same`] for an object, without making a tree from it. Pushes its arrays onto `leaves`. Returns `false` also for
    /// containers of types that Python code defined, which only a tree can compare.
    pub(crate) fn takes(&self, root: &Bound<'_, PyAny>, leaves: &mut Vec<Array>) -> bool {
        let py = root.py();
        let mut work: SmallVec<[Bound<'_, PyAny>; 16]> = smallvec![root.clone()];
        for (i, step) in self.steps.iter().enumerate() {
            let Some(object) = work.pop() else { return false };
            let first = work.len();
            match step {
                Step::Array => match object.cast::<PyArray>() {
                    Ok(array) => leaves.push(array.get().get()),
                    Err(_) => return false,
                },
                Step::Static(value) => {
                    if !self.same_value(i, value.bind(py), &object) {
                        return false;
                    }
                }
                Step::List(n) => match object.cast_exact::<PyList>() {
                    Ok(list) if list.len() == *n => work.extend(list.iter()),
                    _ => return false,
                },
                Step::Tuple(n) => match object.cast_exact::<PyTuple>() {
                    Ok(tuple) if tuple.len() == *n => work.extend(tuple.iter()),
                    _ => return false,
                },
                Step::Dict(keys) => {
                    let Ok(dict) = object.cast_exact::<PyDict>() else { return false };
                    if dict.len() != keys.len() {
                        return false;
                    }
                    for ((key, value), have) in dict.iter().zip(keys) {
                        // Keys are nearly always the same objects. Comparing others may run Python code, which must not
                        // happen during this iteration.
                        if !key.is(have) {
                            return false;
                        }
                        work.push(value);
                    }
                }
                Step::Custom(_) => return false,
            }
            work[first..].reverse();
        }
        work.is_empty()
    }

    /// Messages about the differences of another tree, apart from the arrays.
    pub(crate) fn differences(&self, py: Python<'_>, what: &str, other: &Tree) -> Vec<String> {
        let mut found = Vec::new();
        for (i, (a, b)) in self.steps.iter().zip(&other.steps).enumerate() {
            if !a.same_container(py, b) {
                let (was, is) = (a.describe(py), b.describe(py));
                let keys = if was == is { " with other keys" } else { "" };
                found.push(format!("{what}{}: was {was}, is {is}{keys}", self.path(py, i)));
                // Further steps do not correspond.
                break;
            }
            match (a, b) {
                (Step::Static(a), Step::Static(b)) if !self.same_value(i, a.bind(py), b.bind(py)) => {
                    let path = self.path(py, i);
                    found.push(if a.is(b) {
                        format!("{what}{path}: a part of {} has changed", shown(a.bind(py)))
                    } else {
                        format!("{what}{path}: was {}, is {}", shown(a.bind(py)), shown(b.bind(py)))
                    });
                }
                (Step::Custom(a), Step::Custom(b)) => {
                    let path = self.path(py, i);
                    let attributes = a.differing(py, b, self.fixed(i)).unwrap_or_default();
                    found.extend(attributes.into_iter().map(|d| format!("{what}{path}{d}")));
                }
                _ => {}
            }
        }
        found
    }

    /// Visits the objects of the structure for the garbage collector.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for step in &self.steps {
            match step {
                Step::Static(object) => visit.call(object)?,
                Step::Custom(custom) => visit.call(&custom.template)?,
                _ => {}
            }
            for key in step.keys() {
                visit.call(key)?;
            }
        }
        self.fixed.iter().flatten().try_for_each(|fixed| fixed.traverse(visit))
    }

    /// Puts arrays into `object` at the positions of this tree's arrays. Lists, dicts and objects are changed in place, and
    /// missing ones are made. Returns the replacement of `object`, which is `object` itself unless it cannot change.
    pub(crate) fn fill<'py>(
        &self,
        object: &Bound<'py, PyAny>,
        leaves: &[Array],
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut filler = Filler { steps: &self.steps, leaves };
        filler.next(object.py(), Some(object.clone()))
    }
}

/// The remaining steps and arrays of a tree that is being written into containers.
struct Filler<'a> {
    steps: &'a [Step],
    leaves: &'a [Array],
}

impl Filler<'_> {
    fn next<'py>(&mut self, py: Python<'py>, old: Option<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        stack::check("compile")?;
        let Some((step, rest)) = self.steps.split_first() else {
            return Err(pyo3::exceptions::PyValueError::new_err("[tree] an empty structure"));
        };
        self.steps = rest;
        match step {
            Step::Array => {
                let Some((leaf, rest)) = self.leaves.split_first() else {
                    return Err(pyo3::exceptions::PyValueError::new_err(
                        "[tree] too few arrays for the structure",
                    ));
                };
                self.leaves = rest;
                Ok(Bound::new(py, PyArray::new(leaf.clone()))?.into_any())
            }
            Step::Static(object) => Ok(object.bind(py).clone()),
            Step::List(n) => match old.as_ref().map(|o| o.cast_exact::<PyList>()) {
                Some(Ok(list)) => self.list(*n, list),
                _ => self.list(*n, &PyList::empty(py)),
            },
            Step::Tuple(n) => {
                let old = old.and_then(|o| o.cast_into_exact::<PyTuple>().ok());
                let children = self.items(py, *n, |i| old.as_ref().and_then(|o| o.get_item(i).ok()))?;
                match old {
                    Some(old) if old.len() == *n && old.iter().zip(&children).all(|(a, b)| a.is(b)) => {
                        Ok(old.into_any())
                    }
                    _ => Ok(PyTuple::new(py, children)?.into_any()),
                }
            }
            Step::Dict(keys) => match old.as_ref().map(|o| o.cast_exact::<PyDict>()) {
                Some(Ok(dict)) => self.dict(keys, dict),
                _ => self.dict(keys, &PyDict::new(py)),
            },
            Step::Custom(custom) => self.custom(custom, old, py),
        }
    }

    fn items<'py>(
        &mut self,
        py: Python<'py>,
        n: usize,
        old: impl Fn(usize) -> Option<Bound<'py, PyAny>>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        (0..n).map(|i| self.next(py, old(i))).collect()
    }

    fn list<'py>(&mut self, n: usize, list: &Bound<'py, PyList>) -> PyResult<Bound<'py, PyAny>> {
        let py = list.py();
        let children = self.items(py, n, |i| list.get_item(i).ok())?;
        if list.len() == n {
            for (i, child) in children.into_iter().enumerate() {
                list.set_item(i, child)?;
            }
        } else {
            list.set_slice(0, list.len(), PyList::new(py, children)?.as_any())?;
        }
        Ok(list.clone().into_any())
    }

    fn dict<'py>(&mut self, keys: &[Py<PyAny>], dict: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
        for key in keys {
            let old = dict.get_item(key)?;
            let child = self.next(dict.py(), old)?;
            dict.set_item(key, child)?;
        }
        Ok(dict.clone().into_any())
    }

    fn custom<'py>(
        &mut self,
        custom: &Custom,
        old: Option<Bound<'py, PyAny>>,
        py: Python<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let old = old.filter(|o| o.get_type().is(custom.class(py)));
        if let Some(old) = &old {
            match custom.kind {
                Kind::Dict => return self.dict(&custom.keys, old.cast()?),
                Kind::List => return self.list(custom.len, old.cast()?),
                Kind::Tuple | Kind::Dataclass => {}
            }
        }
        let child = |i: usize| match (&old, custom.kind) {
            (Some(old), Kind::Tuple) => old.get_item(i).ok(),
            (Some(old), Kind::Dataclass) => {
                old.getattr(custom.keys[i].bind(py).cast::<PyString>().ok()?).ok()
            }
            _ => None,
        };
        let children = self.items(py, custom.len, child)?;
        if let Some(old) = old {
            if (0..custom.len).all(|i| child_is(custom, &old, i, &children[i])) {
                return Ok(old);
            }
            let set = |(name, child): (&Py<PyAny>, &Bound<'py, PyAny>)| {
                old.setattr(name.bind(py).cast::<PyString>()?, child)
            };
            // A frozen dataclass cannot be changed; a new one takes its place.
            if matches!(custom.kind, Kind::Dataclass)
                && custom.keys.iter().zip(&children).try_for_each(set).is_ok()
            {
                return Ok(old);
            }
        }
        custom.build(py, &mut children.into_iter())
    }
}

/// Whether child `i` of a tuple or dataclass is this object.
fn child_is(custom: &Custom, object: &Bound<'_, PyAny>, i: usize, child: &Bound<'_, PyAny>) -> bool {
    let found = match custom.kind {
        Kind::Dataclass => match custom.keys[i].bind(object.py()).cast::<PyString>() {
            Ok(name) => object.getattr(name),
            Err(_) => return false,
        },
        _ => object.get_item(i),
    };
    found.is_ok_and(|x| x.is(child))
}

/// The contents of containers, and the values of the arrays in them, at one time.
#[derive(Default)]
pub(crate) struct Snapshot<'py> {
    dicts: Vec<(Bound<'py, PyDict>, Bound<'py, PyDict>)>,
    lists: Vec<(Bound<'py, PyList>, Bound<'py, PyList>)>,
    objects: Vec<(Bound<'py, PyAny>, Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>)>,
    arrays: Vec<(Bound<'py, PyArray>, Array)>,
}

impl<'py> Snapshot<'py> {
    /// Records the contents of these trees.
    pub(crate) fn new(roots: &[Bound<'py, PyAny>]) -> PyResult<Self> {
        let mut out = Self::default();
        let mut seen = HashSet::new();
        let mut work = roots.to_vec();
        while let Some(object) = work.pop() {
            if !seen.insert(object.as_ptr() as usize) {
                continue;
            }
            if let Ok(array) = object.cast::<PyArray>() {
                out.arrays.push((array.clone(), array.get().get()));
            } else if let Ok(dict) = object.cast::<PyDict>() {
                work.extend(dict.values());
                out.dicts.push((dict.clone(), dict.copy()?));
            } else if let Ok(list) = object.cast::<PyList>() {
                work.extend(list.iter());
                out.lists.push((list.clone(), list.get_slice(0, list.len())));
            } else if let Ok(tuple) = object.cast::<PyTuple>() {
                work.extend(tuple.iter());
            } else if !object.is_instance_of::<pyo3::types::PyType>()
                && let Some(names) = dataclass_fields(&object)?
            {
                let mut fields = Vec::with_capacity(names.len());
                for name in names {
                    let name = name.into_bound(object.py());
                    let value = object.getattr(name.cast::<PyString>()?)?;
                    work.push(value.clone());
                    fields.push((name, value));
                }
                out.objects.push((object, fields));
            }
        }
        Ok(out)
    }

    /// Restores the contents that have changed.
    pub(crate) fn restore(&self) -> PyResult<()> {
        for (array, value) in &self.arrays {
            if !array.get().peek(|now| now.is_same(value)) {
                array.get().set(value.clone());
            }
        }
        for (dict, before) in &self.dicts {
            let mut same = dict.len() == before.len();
            for (key, value) in before.iter() {
                same = same && dict.get_item(key)?.is_some_and(|now| now.is(&value));
            }
            if !same {
                dict.clear();
                dict.update(before.as_mapping())?;
            }
        }
        for (list, before) in &self.lists {
            if list.len() != before.len() || list.iter().zip(before.iter()).any(|(a, b)| !a.is(&b)) {
                list.set_slice(0, list.len(), before.as_any())?;
            }
        }
        for (object, fields) in &self.objects {
            for (name, value) in fields {
                let name = name.cast::<PyString>()?;
                if !object.getattr(name)?.is(value) {
                    object.setattr(name, value)?;
                }
            }
        }
        Ok(())
    }
}
