"""deeplift's own interface, computed by wel: `import wel.deeplift as deeplift`.

from wel.deeplift.conversion import kerasapi_conversion as kc
from wel.deeplift.layers import NonlinearMxtsMode

model = kc.convert_model_from_saved_files("model.h5", nonlinear_mxts_mode=NonlinearMxtsMode.DeepLIFT_GenomicsDefault)
contributions = model.get_target_contribs_func(find_scores_layer_idx=0, target_layer_idx=-2)
scores = contributions(task_idx=0, input_data_list=[x], input_references_list=[reference], batch_size=32, progress_update=None)

The numbers are those of deeplift 0.6.9.3.
"""

from __future__ import annotations

from wel.deeplift import conversion, dinuc_shuffle, layers, models, util

__all__ = ["conversion", "dinuc_shuffle", "layers", "models", "util"]
