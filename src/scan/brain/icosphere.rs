//! Evenly spread directions: the vertices of an icosahedron whose faces are divided.

use std::collections::HashMap;

/// A triangle mesh of the unit sphere.
pub struct Icosphere {
    /// Unit vectors, 10 * 4^subdivisions + 2 of them.
    pub vertices: Vec<[f64; 3]>,
    /// Vertices of each triangle, seen counterclockwise from outside; 20 * 4^subdivisions of them.
    pub triangles: Vec<[u32; 3]>,
    /// Vertices that share an edge with each vertex, in rising order: 5 for 12 of them, 6 for the rest.
    pub neighbours: Vec<Vec<u32>>,
}

impl Icosphere {
    /// An icosahedron with each triangle divided into four, `subdivisions` times. FSL's BET takes 4 (2562 vertices).
    pub fn new(subdivisions: usize) -> Icosphere {
        let golden = (1.0 + 5f64.sqrt()) / 2.0;
        let mut vertices = Vec::new();
        for a in [-1.0, 1.0] {
            for b in [-golden, golden] {
                vertices.extend([[0.0, a, b], [a, b, 0.0], [b, 0.0, a]].map(unit));
            }
        }
        let mut triangles = corners(&vertices);
        for _ in 0..subdivisions {
            let mut middles: HashMap<(u32, u32), u32> = HashMap::new();
            let mut divided = Vec::with_capacity(triangles.len() * 4);
            for [a, b, c] in triangles {
                let [ab, bc, ca] = [(a, b), (b, c), (c, a)].map(|(p, q)| {
                    *middles.entry((p.min(q), p.max(q))).or_insert_with(|| {
                        vertices.push(unit(add(vertices[p as usize], vertices[q as usize])));
                        vertices.len() as u32 - 1
                    })
                });
                divided.extend([[a, ab, ca], [b, bc, ab], [c, ca, bc], [ab, bc, ca]]);
            }
            triangles = divided;
        }
        let mut neighbours = vec![Vec::new(); vertices.len()];
        for [a, b, c] in &triangles {
            for (from, to) in [(a, b), (b, c), (c, a)] {
                neighbours[*from as usize].push(*to);
            }
        }
        neighbours.iter_mut().for_each(|list| list.sort_unstable());
        Icosphere { vertices, triangles, neighbours }
    }
}

/// The 20 triangles of an icosahedron: every three vertices that are an edge apart, outside counterclockwise.
fn corners(vertices: &[[f64; 3]]) -> Vec<[u32; 3]> {
    // cos of the angle between neighbours is 1 / sqrt(5) = 0.447; the next vertices lie at -0.447.
    let near = |a: usize, b: usize| dot(vertices[a], vertices[b]) > 0.4;
    let mut triangles = Vec::new();
    for a in 0..12 {
        for b in a + 1..12 {
            for c in b + 1..12 {
                if near(a, b) && near(b, c) && near(c, a) {
                    let outward = dot(cross(vertices[a], vertices[b]), vertices[c]) > 0.0;
                    triangles.push(if outward { [a, b, c] } else { [a, c, b] }.map(|v| v as u32));
                }
            }
        }
    }
    triangles
}

pub(super) fn add(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

pub(super) fn sub(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub(super) fn scale(a: [f64; 3], s: f64) -> [f64; 3] {
    a.map(|x| x * s)
}

pub(super) fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(super) fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

pub(super) fn norm(a: [f64; 3]) -> f64 {
    dot(a, a).sqrt()
}

/// `a` at length 1; the zero vector stays as it is.
pub(super) fn unit(a: [f64; 3]) -> [f64; 3] {
    let length = norm(a);
    if length > 0.0 { scale(a, 1.0 / length) } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_follow_the_formula() {
        for n in 0..=4 {
            let sphere = Icosphere::new(n);
            let power = 4usize.pow(n as u32);
            assert_eq!((sphere.vertices.len(), sphere.triangles.len()), (10 * power + 2, 20 * power));
            assert_eq!(sphere.neighbours.iter().filter(|list| list.len() == 5).count(), 12);
            assert_eq!(sphere.neighbours.iter().map(Vec::len).sum::<usize>(), 60 * power);
            assert!(sphere.vertices.iter().all(|v| (norm(*v) - 1.0).abs() < 1e-12));
        }
    }

    #[test]
    fn triangles_look_outward_and_close() {
        let sphere = Icosphere::new(3);
        // The divergence theorem: a closed mesh seen from outside encloses the sum of its signed tetrahedra.
        let volume = |t: &[u32; 3]| {
            let [a, b, c] = t.map(|v| sphere.vertices[v as usize]);
            dot(cross(a, b), c) / 6.0
        };
        assert!(sphere.triangles.iter().all(|t| volume(t) > 0.0));
        let total: f64 = sphere.triangles.iter().map(volume).sum();
        let ball = 4.0 / 3.0 * std::f64::consts::PI;
        assert!(total < ball && total > 0.985 * ball, "{total}");
    }

    #[test]
    fn mean_edge_of_four_subdivisions() {
        let sphere = Icosphere::new(4);
        let edge = |a: usize, b: u32| norm(sub(sphere.vertices[a], sphere.vertices[b as usize]));
        let edges: Vec<f64> = (0..2562).flat_map(|a| sphere.neighbours[a].iter().map(move |b| edge(a, *b))).collect();
        // 7680 edges of near-equilateral triangles that cover 4 pi: edge^2 sqrt(3) / 4 * 5120 = 4 pi gives 0.0753.
        let mean = edges.iter().sum::<f64>() / edges.len() as f64;
        assert_eq!(edges.len(), 2 * 7680);
        assert!((mean - 0.0753).abs() < 0.0005, "{mean}");
    }
}
