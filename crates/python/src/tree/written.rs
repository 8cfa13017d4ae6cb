//! Writes of a function into the containers that a transform passes to it.
//!
//! The function gets copies of the containers with traced arrays in them, so the caller's containers never hold a traced
//! array while it runs. Its changes of the copies are then written to the caller's containers, with the caller's own
//! objects in place of the copies.

use super::{Custom, Kind, Step, Tree};
use crate::array::PyArray;
use covector_core::Array;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use smallvec::{SmallVec, smallvec};
use std::collections::{HashMap, HashSet};

/// A tree that was passed to a function, with its objects at that time.
pub(crate) struct Handed<'py> {
    /// The object of each step of the tree, the last step first.
    objects: SmallVec<[Bound<'py, PyAny>; 1]>,
    /// [`PyArray::changes`] at that time.
    changes: u64,
}

impl<'py> Handed<'py> {
    /// The argument of the function.
    pub(crate) fn root(&self) -> Bound<'py, PyAny> {
        self.objects.last().expect("a tree has a root").clone()
    }
}

/// The caller's object for each passed object, by address.
type Originals<'py> = HashMap<usize, Bound<'py, PyAny>>;

impl Tree {
    /// The tree with other arrays, for a function that may write into it.
    pub(crate) fn hand_out<'py>(&self, py: Python<'py>, leaves: &[Array]) -> PyResult<Handed<'py>> {
        let changes = PyArray::changes();
        if let [Step::Array] = &self.steps[..] {
            return Ok(Handed { objects: smallvec![self.unflatten(py, leaves)?], changes });
        }
        let mut rest = leaves.iter().rev();
        let mut objects = SmallVec::with_capacity(self.steps.len());
        self.build_noting(
            py,
            true,
            |py| match rest.next() {
                Some(leaf) => Ok(Bound::new(py, PyArray::new(leaf.clone()))?.into_any()),
                None => Ok(py.None().into_bound(py)),
            },
            |object| objects.push(object.clone()),
        )?;
        Ok(Handed { objects, changes })
    }

    /// Whether the tree has a container that a function may write into.
    pub(crate) fn is_writable(&self) -> bool {
        self.steps.len() > 1 || matches!(self.steps[..], [Step::List(_) | Step::Dict(_) | Step::Custom(_)])
    }

    /// Writes the function's changes of the passed tree to the tree `original`; `leaves` are the arrays that were passed.
    pub(crate) fn write_back<'py>(
        &self,
        handed: &Handed<'py>,
        leaves: &[Array],
        original: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        if !self.is_writable() {
            return Ok(());
        }
        let changed = self.changed(handed, leaves)?;
        if changed.is_empty() {
            return Ok(());
        }
        let py = original.py();
        let originals = self.originals(handed, leaves, original)?;
        for i in changed {
            let copy = self.object(handed, i);
            if let Some(target) = originals.get(&address(copy))
                && !target.is(copy)
            {
                carry_over(py, &self.steps[i], copy, target, &originals)?;
            }
        }
        Ok(())
    }

    fn object<'a, 'py>(&self, handed: &'a Handed<'py>, step: usize) -> &'a Bound<'py, PyAny> {
        &handed.objects[self.steps.len() - 1 - step]
    }

    /// The containers whose contents have changed, inner ones first.
    fn changed(&self, handed: &Handed<'_>, leaves: &[Array]) -> PyResult<Vec<usize>> {
        let mut changed = Vec::new();
        // The function may have changed an array itself, as by a[0] = 1, but this is rare.
        let look_inside = PyArray::changes() != handed.changes;
        let mut rest = leaves.iter().rev();
        // The steps that wait for their container, and whether each is unchanged; the first child on top.
        let mut waiting: SmallVec<[(usize, bool); 32]> = SmallVec::new();
        for (i, step) in self.steps.iter().enumerate().rev() {
            let mut same = true;
            match step {
                Step::Static(_) => {}
                Step::Array if look_inside => {
                    let leaf = rest.next();
                    let array = self.object(handed, i).cast::<PyArray>()?.get();
                    same = leaf.is_some_and(|leaf| array.peek(|now| now.is_same(leaf)));
                }
                Step::Array => {}
                _ => {
                    let object = self.object(handed, i);
                    let at = waiting.len() - step.len();
                    let children = &waiting[at..];
                    let expected = children.iter().rev().map(|&(k, _)| self.object(handed, k));
                    if !(children.iter().all(|&(_, same)| same) && step.holds(object, expected)?) {
                        changed.push(i);
                    }
                    waiting.truncate(at);
                }
            }
            waiting.push((i, same));
        }
        Ok(changed)
    }

    /// The caller's object for each passed object, as far as the two trees still match.
    fn originals<'py>(
        &self,
        handed: &Handed<'py>,
        leaves: &[Array],
        original: &Bound<'py, PyAny>,
    ) -> PyResult<Originals<'py>> {
        let mut found = Originals::new();
        let mut work = vec![Some(original.clone())];
        let mut leaf = leaves.iter();
        for (i, step) in self.steps.iter().enumerate() {
            let Some(theirs) = work.pop() else { break };
            let ours = self.object(handed, i);
            if matches!(step, Step::Array) {
                let leaf = leaf.next();
                let array = ours.cast::<PyArray>()?.get();
                // An array object with another Rust array in it was changed by the function.
                if let Some(theirs) = theirs.filter(|x| x.is_instance_of::<PyArray>())
                    && leaf.is_some_and(|leaf| array.peek(|now| now.is_same(leaf)))
                {
                    found.insert(address(ours), theirs);
                }
                continue;
            }
            let children = match &theirs {
                Some(theirs) => step.children_in(theirs)?,
                None => None,
            };
            match (children, theirs) {
                (Some(children), Some(theirs)) => {
                    found.insert(address(ours), theirs);
                    work.extend(children.into_iter().rev().map(Some));
                }
                _ => work.extend(std::iter::repeat_n(None, step.len())),
            }
        }
        Ok(found)
    }
}

fn address(object: &Bound<'_, PyAny>) -> usize {
    object.as_ptr() as usize
}

impl Step {
    /// Whether a container consists of exactly these objects, in this order.
    fn holds<'a, 'py: 'a>(
        &self,
        object: &Bound<'py, PyAny>,
        expected: impl ExactSizeIterator<Item = &'a Bound<'py, PyAny>>,
    ) -> PyResult<bool> {
        if let Step::Custom(custom) = self
            && matches!(custom.kind, Kind::Dataclass)
        {
            for (name, child) in custom.keys.iter().zip(expected) {
                if !object.getattr(name.bind(object.py()).cast::<PyString>()?)?.is(child) {
                    return Ok(false);
                }
            }
            return Ok(!custom.has_other_attributes(object)?);
        }
        if let Ok(list) = object.cast::<PyList>() {
            let same = |(k, child): (usize, &Bound<'py, PyAny>)| {
                // SAFETY: the list has as many items, and nothing runs that could change it. The reference is borrowed, and
                // compared only.
                unsafe { ffi::PyList_GetItem(list.as_ptr(), k as ffi::Py_ssize_t) == child.as_ptr() }
            };
            return Ok(list.len() == expected.len() && expected.enumerate().all(same));
        }
        let Ok(dict) = object.cast::<PyDict>() else {
            // A tuple cannot change.
            return Ok(true);
        };
        if dict.len() != expected.len() {
            return Ok(false);
        }
        let mut place = 0;
        let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
        for (name, child) in self.keys().iter().zip(expected) {
            // SAFETY: the pointers are to local variables, and nothing runs that could change the dict. The references are
            // borrowed, and compared only.
            let more = unsafe { ffi::PyDict_Next(dict.as_ptr(), &mut place, &mut key, &mut value) };
            if more == 0 || key != name.as_ptr() || value != child.as_ptr() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Custom {
    /// Whether the attributes besides the fields, or the static fields, of a dataclass differ from its template's.
    fn has_other_attributes(&self, object: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = object.py();
        let Some(now) = attributes(object) else { return Ok(false) };
        let before = attributes(self.template.bind(py));
        for (name, value) in now.iter() {
            let field = self.keys.iter().any(|key| name.eq(key).unwrap_or(false));
            let known = match &before {
                Some(before) => before.get_item(&name)?.is_some_and(|was| was.is(&value)),
                None => false,
            };
            if !field && !known {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn attributes<'py>(object: &Bound<'py, PyAny>) -> Option<Bound<'py, PyDict>> {
    object.getattr("__dict__").ok()?.cast_into::<PyDict>().ok()
}

/// Gives the caller's container the contents of the copy.
fn carry_over<'py>(
    py: Python<'py>,
    step: &Step,
    copy: &Bound<'py, PyAny>,
    target: &Bound<'py, PyAny>,
    originals: &Originals<'py>,
) -> PyResult<()> {
    if let (Step::Custom(custom), true) = (step, copy.get_type().is(target.get_type()))
        && matches!(custom.kind, Kind::Dataclass)
    {
        // This works for classes with slots.
        let set = py.import("builtins")?.getattr("object")?.getattr("__setattr__")?;
        let fields = custom.keys.iter().map(|k| k.bind(py).clone());
        let others = attributes(copy).map(|a| a.keys().iter().collect::<Vec<_>>()).unwrap_or_default();
        for name in fields.chain(others) {
            let name = name.cast_into::<PyString>()?;
            let value = owned(copy.getattr(&name)?, originals)?;
            if !target.getattr_opt(&name)?.is_some_and(|was| was.is(&value)) {
                set.call1((target, name, value))?;
            }
        }
    } else if let (Ok(copy), Ok(target)) = (copy.cast::<PyList>(), target.cast::<PyList>()) {
        let items = copy.iter().map(|x| owned(x, originals)).collect::<PyResult<Vec<_>>>()?;
        target.set_slice(0, target.len(), PyList::new(py, items)?.as_any())?;
    } else if let (Ok(copy), Ok(target)) = (copy.cast::<PyDict>(), target.cast::<PyDict>()) {
        // Keys are added and removed through the object, not through the dict beneath it: a subclass may track them.
        let object = target.as_any();
        for key in target.keys() {
            if !copy.contains(&key)? {
                object.del_item(key)?;
            }
        }
        for (key, value) in copy.iter() {
            let value = owned(value, originals)?;
            if target.contains(&key)? { target.set_item(key, value)? } else { object.set_item(key, value)? }
        }
        if target.keys().iter().zip(copy.keys().iter()).any(|(a, b)| !a.is(&b)) {
            let items: Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)> = target.iter().collect();
            for key in copy.keys() {
                let Some((_, value)) = items.iter().find(|(k, _)| k.is(&key)) else { continue };
                object.del_item(&key)?;
                object.set_item(key, value)?;
            }
        }
    }
    Ok(())
}

/// A value with the caller's objects in place of the passed ones, also inside lists, tuples and dicts that the function
/// has made.
fn owned<'py>(value: Bound<'py, PyAny>, originals: &Originals<'py>) -> PyResult<Bound<'py, PyAny>> {
    if let Some(original) = originals.get(&address(&value)) {
        return Ok(original.clone());
    }
    let mut seen = HashSet::new();
    let mut work = vec![value.clone()];
    while let Some(object) = work.pop() {
        if !seen.insert(address(&object)) {
            continue;
        }
        if let Ok(list) = object.cast_exact::<PyList>() {
            for (i, item) in list.iter().enumerate() {
                match originals.get(&address(&item)) {
                    Some(original) => list.set_item(i, original)?,
                    None => work.push(item),
                }
            }
        } else if let Ok(dict) = object.cast_exact::<PyDict>() {
            let items: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)> = dict.iter().collect();
            for (key, item) in items {
                match originals.get(&address(&item)) {
                    Some(original) => dict.set_item(key, original)?,
                    None => work.push(item),
                }
            }
        } else if let Ok(tuple) = object.cast_exact::<PyTuple>() {
            work.extend(tuple.iter());
        }
    }
    Ok(value)
}
