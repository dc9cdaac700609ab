"""An exported model answers images with onnxruntime alone: neither lmd nor torch is needed.

    python examples/exported_onnx.py EXPORT/model.onnx a.jpg b.png

`lmd export RUN --out EXPORT` made it. For research. Not a medical device. The file itself says which classes
it knows and how images have to be; what is read here is what most cameras write (JPEG and PNG in colours or
grey). lmd reads more kinds of files (docs/images.md).
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
about = session.get_modelmeta().custom_metadata_map
classes = json.loads(about["classes"])
wanted = json.loads(about["input"])
size = wanted["shape"][-1]

pixels = []
for name in sys.argv[2:]:
    picture = Image.open(name)
    picture.draft("RGB", (2 * size, 2 * size))  # A large JPEG is decoded no finer than that needs.
    picture = ImageOps.exif_transpose(picture).convert("RGB")
    if wanted["crop"] == "center":
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    picture = picture.resize((size, size), Image.Resampling.BILINEAR)
    pixels.append(np.asarray(picture).transpose(2, 0, 1))

p, d = session.run(["p", "d"], {"images": np.stack(pixels)})  # p ranks, d decides.

print(about["notice"])
for name, ranks, decides in zip(sys.argv[2:], p, d, strict=True):
    print(f"{name}: {classes[decides.argmax()]}")
    for number in np.argsort(-ranks):
        print(f"    {ranks[number]:.4f}  {classes[number]}")
