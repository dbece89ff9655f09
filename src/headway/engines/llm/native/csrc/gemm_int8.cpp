// Products with int8 weights, four of them to a word, and rows rounded to bytes.
#include "finish.h"

namespace headway {

HEADWAY_PRODUCTS(, Int8)

}  // namespace headway
