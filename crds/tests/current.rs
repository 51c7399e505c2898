//! The YAML in the chart is what the types render.

use std::path::PathBuf;

#[test]
fn the_chart_has_the_definitions_that_the_types_render() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../charts/bitbuilder/files/crds");
    for crd in bb_crds::crds() {
        let name = crd.metadata.name.clone().unwrap();
        let path = dir.join(format!("{}.yaml", name.split('.').next().unwrap()));
        let rendered = bb_crds::render_yaml(&crd).unwrap();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &rendered).unwrap();
        }
        let present = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            present == rendered,
            "{} is not what the types render: run `UPDATE=1 cargo test -p bb-crds --test current`",
            path.display()
        );
    }
}
