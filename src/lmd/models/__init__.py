"""Networks: an encoder, a classifier, both as one network, and the EMA teacher."""
