"""What the panel of MONAI Label in 3D Slicer asks for, and where tests paint."""

from bifseg.io.images import read_image

ROI = (90, 30, 30, 90, 40, 20)  # the panel's ends come in any order
IN = (slice(50, 60), 55, 30)
OUT = (slice(32, 40), 34, 30)


def infer(client, session, painted, *, name="liver", roi=ROI, **more):
    """As `onUpdateScribbles` of the module does it: the reply's image and params."""
    label, about = painted
    params = {
        "roi": list(roi), "label_info": about, "selected_label_name": name, "result_extension": ".nrrd",
        "result_dtype": "uint8", **more,
    }  # fmt: skip
    file, params = client.infer("bifseg", "scan", params, label, session_id=session)
    assert params["label_names"] == {name: 1}
    return read_image(file)
