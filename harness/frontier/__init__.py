"""Methods of quantisation on the same requests: quality against speed against memory."""
