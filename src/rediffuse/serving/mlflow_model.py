"""What MLflow runs to have the model: it is saved as this code, and not as a pickle."""

from mlflow.models import set_model

from rediffuse.serving.pyfunc import ImageModel

set_model(ImageModel())
