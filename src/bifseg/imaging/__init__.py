"""Images: voxels with a geometry."""
