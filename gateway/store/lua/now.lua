-- The store's clock, in microseconds.
return digits(NOW)
