"""A model's answers in the study of an image: measurement reports (TID 1500) and heat maps, as DICOM."""
