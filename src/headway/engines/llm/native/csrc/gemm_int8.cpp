// Products with int8 weights and byte rows.
#include "finish.h"

namespace headway {

HEADWAY_PRODUCTS(, Int8)

}  // namespace headway
