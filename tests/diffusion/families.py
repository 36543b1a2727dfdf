"""Every process, as the tests go through them."""

from rediffuse.diffusion import Cosine, Ddpm, Edm, Flow, Process, SubVp, Ve, Vp

PROCESSES: dict[str, Process] = {
    "ddpm": Ddpm(),
    "ddpm-100": Ddpm(steps=100),
    "vp": Vp(),
    "subvp": SubVp(),
    "cosine": Cosine(),
    "iddpm": Cosine(offset=0.008, steps=4000),
    "ve": Ve(),
    "ncsn": Ve(steps=232),
    "edm": Edm(),
    "flow": Flow(),
}

CONTINUOUS = {name: process for name, process in PROCESSES.items() if process.ladder() is None}
