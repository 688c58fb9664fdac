"""A plate as a CZI: scenes that lie in wells, with gaps between them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pylibCZIrw import czi as pylibczi

from harness.czi_files import set_xml
from harness.images import small_image

WELLS = ("B3", "B3", "D11")
"""Of each scene; two fields in one."""

SHAPE = (1, 1, 2, 40, 40)
"""Voxels of a scene, ``(t, c, z, y, x)``."""

FAR = 1000
"""Pixels from one scene to the next."""


def write_plate(
    path: Path, wells: Sequence[str] = WELLS, *, named: bool = True
) -> list[np.ndarray]:
    """Write a scene per well, as pylibCZIrw does; the voxels of each.

    Its metadata name the wells as ZEN does, or nothing.
    """
    scenes = [small_image(SHAPE, seed=i) for i in range(len(wells))]
    with pylibczi.create_czi(str(path)) as writer:
        for i, voxels in enumerate(scenes):
            for t, c, z in np.ndindex(voxels.shape[:3]):
                writer.write(
                    np.ascontiguousarray(voxels[t, c, z])[..., np.newaxis],
                    plane={"T": t, "C": c, "Z": z},
                    scene=i,
                    location=(i * FAR, 0),
                )
        writer.write_metadata(path.stem, scale_x=1e-6, scale_y=1e-6, scale_z=1e-6)
    if named:
        listed = "".join(
            f'<Scene Index="{i}" Name="{well}-{i}">'
            f"<ArrayName>{well}</ArrayName></Scene>"
            for i, well in enumerate(wells)
        )
        s = f"<S><Scenes>{listed}</Scenes></S></Dimensions>"
        set_xml(path, lambda xml: xml.replace("</Dimensions>", s, 1))
    return scenes
