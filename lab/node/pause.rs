//! Turns a pod's first container into one that does nothing, and so holds the pod's namespaces.

fn main() {
    loop {
        std::thread::park();
    }
}
